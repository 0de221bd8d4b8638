"""The processes that tokenize ahead for a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from include.settings import PROJECT

LOAD = """
import sys
from functools import partial
from sentence_transformers import SentenceTransformer
from torch.utils.data import DataLoader
from include.retriever.finetuning.trainer import preprocess_columns
model = SentenceTransformer(sys.argv[1], device="cpu")
texts = ["sleep at night"] * 256
model.preprocess(texts)  # by several threads, from now on
loader = DataLoader(texts, batch_size=64, num_workers=2, collate_fn=partial(preprocess_columns, model))
print(sum(len(batch["input_ids"]) for batch in loader))
"""


def test_a_loader_does_not_wait_for_threads_that_its_fork_left_behind(model_folder: Path) -> None:
    """Whoever sets TOKENIZERS_PARALLELISM takes the tokenizer's own guard away."""
    ended = subprocess.run(
        [sys.executable, "-c", LOAD, str(model_folder)],
        cwd=PROJECT,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, "256"), ended.stderr[-2000:]
