"""A training of the tiny model on toy pairs, whole or killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from include.retriever.finetuning.hardware import Hardware
from include.retriever.finetuning.run import fine_tune
from include.retriever.manifest import ModelManifest
from include.retriever.recipe import Recipe
from tests.include.retriever.conftest import toy_pairs

PROJECT = Path(__file__).parents[4]
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


KILLED = """
import json, os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq, torch
from include.retriever.finetuning.hardware import Hardware
from include.retriever.finetuning.progress import ProgressLog
from include.retriever.finetuning.run import fine_tune
from include.retriever.recipe import Recipe
from include.retriever.manifest import ModelManifest

torch.set_num_threads(1)
work, pairs, model, base, recipe, hardware, step = sys.argv[1:]

def die(callback, args, state, control, **kwargs):
    if state.global_step == int(step):
        os.kill(os.getpid(), signal.SIGKILL)

ProgressLog.on_step_end = die
fine_tune(Path(model), pq.read_table(pairs), training_id="t1", snapshot_id="s1", work=Path(work),
    base=ModelManifest.model_validate_json(base), recipe=Recipe.model_validate_json(recipe),
    hardware=Hardware(**json.loads(hardware)))
"""


def tune_and_die(
    step: int,
    work: Path,
    model_folder: Path,
    base: ModelManifest,
    *,
    recipe: Recipe = RECIPE,
    hardware: Hardware = CPU,
) -> None:
    """The same in a process of its own that dies of SIGKILL after a step."""
    work.mkdir(parents=True, exist_ok=True)
    pairs = work.parent / f"{work.name}-pairs.parquet"
    pq.write_table(toy_pairs(), pairs)
    settings = [base.model_dump_json(), recipe.model_dump_json(), json.dumps(asdict(hardware)), step]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, [work, pairs, model_folder, *settings])],
        cwd=work.parent,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
