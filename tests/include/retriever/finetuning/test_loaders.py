"""The processes that tokenize ahead for a GPU."""

from __future__ import annotations

import multiprocessing
import os
from functools import partial
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from torch.utils.data import DataLoader

from include.retriever.finetuning.trainer import preprocess_columns
from tests.include.retriever.finetuning.workshop import begin


def load(model_folder: Path, out: Path) -> None:
    multiprocessing.set_start_method("fork", force=True)  # as a training does
    os.environ |= {"TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "2"}
    model = SentenceTransformer(str(model_folder), device="cpu")
    texts = ["sleep at night"] * 256
    model.preprocess(texts)  # by several threads, from now on
    loader: DataLoader[dict[str, Any]] = DataLoader(
        texts,  # type: ignore[arg-type]
        batch_size=64,
        num_workers=2,
        collate_fn=partial(preprocess_columns, model),
    )
    out.write_text(str(sum(len(batch["input_ids"]) for batch in loader)))


def test_a_loader_does_not_wait_for_threads_that_its_fork_left_behind(model_folder: Path, tmp_path: Path) -> None:
    """Whoever sets TOKENIZERS_PARALLELISM takes the tokenizer's own guard away."""
    process = begin(load, model_folder, tmp_path / "loaded")
    try:
        process.join(120)
        assert process.exitcode == 0
    finally:
        process.kill()
    assert (tmp_path / "loaded").read_text() == "256"
