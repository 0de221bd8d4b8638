"""What a piece of work used of its device: seconds and memory."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from include.devices.device import Device

log = logging.getLogger(__name__)


class Usage(BaseModel):
    """What was used, filled in by :func:`measure` when the work ends."""

    device: str
    """``cpu`` or ``cuda``."""
    names: list[str] = []
    """Models of the GPUs."""
    gpus: int = 0
    """How many GPUs were held."""
    seconds: float = 0.0
    gpu_seconds: float = 0.0
    """Seconds times GPUs, whether they were busy or not: nobody else could use them."""
    memory_peak_bytes: int = 0
    """The most that PyTorch allocated on one GPU (without other libraries' memory), or on a CPU the most memory that
    the process used. Work in other processes must record its peak here itself."""
    fallback: bool = False
    """A GPU was wanted but not available, and the CPU was used."""
    batch_halvings: int = 0

    def describe(self) -> str:
        """All of it in a line."""
        what = ", ".join(dict.fromkeys(self.names)) or "CPU"
        parts = [
            f"{self.gpus} x {what}" if self.gpus > 1 else what,
            *(["no GPU available"] if self.fallback else []),
            f"{self.seconds:.1f} s",
            *([f"{self.gpu_seconds:.1f} GPU seconds"] if self.gpus else []),
            f"{self.memory_peak_bytes / 2**30:.2f} GiB of memory at the peak",
            *([f"halvings of the batch: {self.batch_halvings}"] if self.batch_halvings else []),
        ]
        return ", ".join(parts)


@contextmanager
def measure(device: Device) -> Iterator[Usage]:
    """Measure the block, and log what it used, however it ends."""
    # Reports read what was used, and need no PyTorch for it.
    from include.devices.halving import halvings

    usage = Usage(device=device.kind, names=list(device.names), gpus=len(device.gpus), fallback=device.fallback)
    started, halved = time.monotonic(), halvings()
    try:
        yield usage
    finally:
        usage.seconds = round(time.monotonic() - started, 3)
        usage.gpu_seconds = round(usage.seconds * usage.gpus, 3)
        usage.memory_peak_bytes = max(usage.memory_peak_bytes, _memory_peak(device))
        usage.batch_halvings += halvings() - halved
        log.info("Used: %s.", usage.describe())


def _memory_peak(device: Device) -> int:
    """Bytes."""
    if device.kind == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    import torch

    if not torch.cuda.is_initialized():
        return 0
    return max(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count()))
