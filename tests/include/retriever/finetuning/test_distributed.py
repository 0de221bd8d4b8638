"""Several processes train one model: here two on the CPU, as elsewhere one on each GPU."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import torch

from include.devices.usage import Usage
from include.retriever.finetuning import distributed as module
from include.retriever.finetuning.distributed import WorkersError
from include.retriever.finetuning.hardware import Hardware
from include.retriever.manifest import ModelManifest
from tests.include.retriever.conftest import toy_pairs
from tests.include.retriever.finetuning.workshop import RECIPE, assert_same_weights, begin, tune

TWO = Hardware(gpus=2, threads=2)


def children(process: int | None) -> list[psutil.Process]:
    try:
        return psutil.Process(process).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def test_two_processes_train_the_model_that_one_would_though_they_are_killed(
    tmp_path: Path,
    calm_folder: Path,
    base: ModelManifest,
    calm: tuple[Path, ModelManifest],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each query is told apart from the texts of the whole batch, wherever they are embedded: the same batches, losses
    and, up to rounding, weights.

    The one who started them dies of SIGKILL, in the second epoch; so do they, and a second attempt goes on.
    """
    work = tmp_path / "work"
    starter = begin(_start, work, calm_folder, base)
    checkpoint = work / "checkpoints" / "checkpoint-20" / "trainer_state.json"
    try:
        deadline = time.monotonic() + 300
        while not checkpoint.is_file() and time.monotonic() < deadline and starter.is_alive():
            time.sleep(0.02)
        family = children(starter.pid)
    finally:
        starter.kill()
        starter.join()
    assert checkpoint.is_file()
    assert len(family) >= 3, "torchrun and two that train"
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive

    usage = Usage(device="cpu")
    with caplog.at_level(logging.INFO):
        manifest = tune(work, calm_folder, base, hardware=TWO, usage=usage)
    assert sum("Resuming from checkpoint-2" in message for message in caplog.messages) == 1, "one of them speaks"
    assert any("Step 26 of 26: loss" in message for message in caplog.messages)
    assert usage.memory_peak_bytes > 2**20
    one = calm[1]
    assert_same_weights(work, calm[0], atol=1e-3, rtol=1e-2)
    assert manifest.version == one.version
    assert [entry["loss"] for entry in manifest.losses] == pytest.approx(
        [entry["loss"] for entry in one.losses], rel=1e-2
    )
    assert [entry["step"] for entry in manifest.evaluations] == [10, 20, 26]
    assert manifest.metrics["after"]["MRR@5"] == pytest.approx(one.metrics["after"]["MRR@5"], abs=0.05)


def _start(work: Path, model_folder: Path, base: ModelManifest) -> None:
    tune(work, model_folder, base, hardware=TWO)


def test_where_one_runs_out_of_memory_all_begin_again_with_half(
    tmp_path: Path, model_folder: Path, base: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def run(work: Path, hardware: Hardware) -> tuple[int, list[str]]:
        sizes.append(json.loads((work / module.JOB).read_text())["mini_batch_size"])
        if len(sizes) == 3:
            return 1, ["Traceback", "ValueError: no"]
        (work / module.OUT_OF_MEMORY).write_text("CUDA out of memory.")
        return 1, []

    monkeypatch.setattr(module, "_run", run)
    with pytest.raises(WorkersError, match="ValueError: no"):
        tune(tmp_path, model_folder, base, hardware=TWO)
    assert sizes == [0, 4, 2]


def test_one_that_runs_out_of_memory_leaves_word_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate a great deal.")

    job = {"base_folder": "base", "recipe": RECIPE.model_dump(), "hardware": asdict(TWO), "mini_batch_size": 0}
    (tmp_path / module.JOB).write_text(json.dumps(job))
    for name in (module.EXAMPLES, module.EVAL_PAIRS):
        pq.write_table(toy_pairs(), tmp_path / name)
    for name in ("RANK", "LOCAL_RANK", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr("include.retriever.finetuning.trainer.train_model", run_out)
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    with pytest.raises(torch.OutOfMemoryError):
        module.train(tmp_path)
    assert (tmp_path / module.OUT_OF_MEMORY).read_text() == "CUDA out of memory."
