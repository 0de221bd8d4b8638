"""With a real GPU, where there is one. In processes of their own: CUDA can be initialised once in each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from include.devices.inventory import visible_gpus
from include.settings import PROJECT

BORROW = """
import json, os, sys
from pathlib import Path
from include.devices import device as devices
from include.devices.halving import HalvingBatch
from include.devices.usage import measure
import torch
assert not devices._is_cuda_initialized()
with devices.borrow("cuda", gpus=1, threads=1, folder=Path(sys.argv[1])) as device, measure(device) as usage:
    model = torch.nn.Linear(1024, 1024).to(device.kind)
    model(torch.ones(8, 1024, device=device.kind)).sum().backward()
    seen = [str(torch.cuda.get_device_properties(at).uuid) for at in range(torch.cuda.device_count())]
    everything = torch.cuda.get_device_properties(0).total_memory
    HalvingBatch(8).run(lambda size: torch.empty(everything // 8 * size // 2 + size, device="cuda", dtype=torch.half))
assert devices._is_cuda_initialized()
print(json.dumps({"usage": usage.model_dump(), "seen": seen, "leased": device.gpus}))
"""
TOO_LATE = """
import sys
from pathlib import Path
import torch
torch.cuda.is_available()  # which initialises the driver, though not PyTorch's CUDA
from include.devices.device import borrow
with borrow("cuda", gpus=1, threads=1, folder=Path(sys.argv[1])):
    pass
"""
RECORDED = """
import torch
from include.queries.doc2query.recorded import Recorded
found = torch.zeros(4, device="cuda")
step = torch.ones((), device="cuda")
def add(number):
    found[torch.arange(4, device="cuda")] += number * step
    step.mul_(2)
recorded = Recorded(add)
for number in (1, 3, 1, 3, 3, 1):
    recorded.run(number)
assert found.tolist() == [1 + 6 + 4 + 24 + 48 + 32] * 4, found
"""


@pytest.fixture(autouse=True)
def gpu() -> None:
    import torch

    # Not where tests are collected: looking initialises CUDA.
    if not visible_gpus() or torch.version.cuda is None:
        pytest.skip("has no GPU")


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_model_runs_on_the_leased_gpu_and_what_it_used_is_known(tmp_path: Path) -> None:
    ended = run(BORROW, tmp_path)
    assert ended.returncode == 0, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert len(told["seen"]) == 1
    if told["leased"][0].startswith("GPU-"):
        assert told["leased"] == [f"GPU-{told['seen'][0]}"]
    usage = told["usage"]
    assert usage["memory_peak_bytes"] > 4 * 1024 * 1024, "the weights alone"
    assert usage["gpu_seconds"] == usage["seconds"] > 0
    assert usage["names"]
    assert usage["batch_halvings"] >= 1, "more than all of its memory was asked for"


def test_a_process_that_has_looked_at_cuda_is_told_so(tmp_path: Path) -> None:
    ended = run(TOO_LATE, tmp_path)
    assert ended.returncode != 0
    assert "before a GPU was leased" in ended.stderr


def test_what_is_recorded_does_what_the_function_does(tmp_path: Path) -> None:
    ended = run(RECORDED, tmp_path)
    assert ended.returncode == 0, ended.stderr
