"""GPUs that are not there: what NVIDIA's library and CUDA would say if they were."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pynvml
import pytest
import torch

Install = Callable[..., None]


@dataclass
class Machine:
    """A machine with some GPUs; a handle is the number of a GPU."""

    names: list[str]
    lost: frozenset[int] = frozenset()

    @staticmethod
    def uuid(index: int) -> str:
        return f"GPU-{index}aaaa-bbbb"

    def answer(self, index: int) -> int:
        if index in self.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return index


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put GPUs into the machine, by their models."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def do(*names: str, lost: frozenset[int] = frozenset()) -> None:
        machine = Machine(list(names), lost)
        answers: dict[str, Callable[..., object]] = {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: len(names),
            "nvmlDeviceGetHandleByIndex": machine.answer,
            "nvmlDeviceGetUUID": machine.uuid,
            "nvmlDeviceGetName": names.__getitem__,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, answer)

        def count() -> int:
            return len(os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(names)).split(",")) if names else 0

        monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", count)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count() > 0)

    return do


@pytest.fixture(autouse=True)
def restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
