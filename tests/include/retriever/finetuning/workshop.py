"""A training of the tiny model on toy pairs, whole or killed on the way."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pyarrow as pa
import torch
from safetensors.torch import load_file
from transformers import TrainerState

from include.devices.usage import Usage
from include.retriever.finetuning.hardware import Hardware
from include.retriever.finetuning.progress import ProgressLog
from include.retriever.finetuning.run import fine_tune
from include.retriever.manifest import ModelManifest
from include.retriever.recipe import Recipe
from tests.include.retriever.conftest import toy_pairs

RECIPE = Recipe(epochs=2, batch_size=16, learning_rate=5e-3, seed=3)
"""200 pairs: 13 steps an epoch, a checkpoint and an evaluation every 10 steps."""
CPU = Hardware()


def tune(
    work: Path,
    model_folder: Path,
    base: ModelManifest,
    *,
    pairs: pa.Table | None = None,
    recipe: Recipe = RECIPE,
    hardware: Hardware = CPU,
    usage: Usage | None = None,
) -> ModelManifest:
    folder, manifest = fine_tune(
        model_folder,
        toy_pairs() if pairs is None else pairs,
        base=base,
        training_id="t1",
        snapshot_id="s1",
        recipe=recipe,
        hardware=hardware,
        work=work,
        usage=usage,
    )
    assert folder == work / "model"
    return manifest


def weights(work: Path) -> dict[str, torch.Tensor]:
    return load_file(work / "model" / "model.safetensors")


def assert_same_weights(one: Path, other: Path, *, atol: float = 1e-6, rtol: float = 1e-5) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, values in first.items():
        torch.testing.assert_close(values, second[name], atol=atol, rtol=rtol, msg=name)


def tune_and_die(
    step: int,
    work: Path,
    model_folder: Path,
    base: ModelManifest,
    *,
    recipe: Recipe = RECIPE,
) -> None:
    """The same in a process of its own that dies of SIGKILL after a step."""
    killed = begin(_tune_until, step, work, model_folder, base, recipe)
    try:
        killed.join(300)
        assert killed.exitcode == -signal.SIGKILL
    finally:
        killed.kill()


def _tune_until(step: int, work: Path, model_folder: Path, base: ModelManifest, recipe: Recipe) -> None:
    def die(callback: ProgressLog, args: object, state: TrainerState, *_: object, **__: object) -> None:
        if state.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    ProgressLog.on_step_end = die  # type: ignore[assignment, method-assign]
    tune(work, model_folder, base, recipe=recipe)


def begin(function: Callable[..., None], *arguments: object) -> BaseProcess:
    """Call a function of a module in a process of its own.

    It is forked from one that has imported PyTorch and all else and done nothing with it, for to import it takes longer
    than to train.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=function, args=arguments)
    process.start()
    return process
