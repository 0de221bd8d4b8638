"""Where model work runs: on GPUs that it has to itself or on the CPU, and with how many threads."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from include.devices.inventory import VISIBLE, identify, visible_gpus
from include.devices.inventory import gpus as installed_gpus
from include.devices.lease import lease
from include.errors import PermanentError

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 600
"""How long others are waited for: tasks come one a GPU, so that only what a killed one has not yet let go is in the
way, or somebody's own work."""
REMEDY = "Or set PODSEARCH_DEVICE: auto takes a GPU where there is one, cpu never does."


class DeviceError(PermanentError):
    """The wanted device is not there; no retry will bring it."""


class _NoGpuError(Exception):
    """No GPU can be used; the message says why, and what to look at."""


@dataclass(frozen=True)
class Device:
    """What a piece of work runs on."""

    kind: Literal["cpu", "cuda"]
    gpus: tuple[str, ...] = ()
    """The leased GPUs, as CUDA_VISIBLE_DEVICES names them; CUDA sees them as 0, 1, …, and no others."""
    names: tuple[str, ...] = ()
    """Their models."""
    fallback: bool = False
    """A GPU would have been taken, and there is none."""

    @property
    def torch(self) -> str:
        """The device as PyTorch calls it; of several GPUs the first."""
        return self.kind


@contextmanager
def borrow(
    wanted: str, *, gpus: int, threads: int, folder: Path, patience_seconds: float = PATIENCE_SECONDS
) -> Iterator[Device]:
    """Have a device until the end of the block: GPUs that nobody else who borrows has, or the CPU.

    Called once, in the task's own process and before CUDA is initialised there, for CUDA reads only then which GPUs it
    may see.

    :param wanted: ``auto``, ``cpu`` or ``cuda``.
    :param gpus: how many, if any.
    :param threads: threads for CPU work; 0 takes every core this process may run on, or beside GPUs their share.
    :param folder: holds the locks, see :func:`include.devices.lease.lease`.
    :param patience_seconds: how long to wait for GPUs that others hold.
    :raises DeviceError: ``cuda`` was wanted and no GPU can be used, or there are fewer than wanted.
    :raises include.devices.lease.DevicesBusyError: others held the GPUs for too long.
    :raises RuntimeError: CUDA is initialised already.
    """
    visible = [] if wanted == "cpu" else visible_gpus()
    with ExitStack() as held:
        device = Device("cpu")
        if wanted != "cpu":
            try:
                device = held.enter_context(_leased(visible, gpus, folder, patience_seconds))
            except _NoGpuError as problem:
                if wanted == "cuda":
                    raise DeviceError(f"A GPU is required (PODSEARCH_DEVICE=cuda): {problem} {REMEDY}") from None
                device = Device("cpu", fallback=True)
                log.log(logging.WARNING if visible else logging.INFO, "No GPU can be used: %s", problem)
        torch.set_num_threads(threads or _share_of_cores(len(device.gpus), len(visible)))
        if device.gpus:
            log.info("Leased %s (%s).", ", ".join(device.names), ",".join(device.gpus))
        else:
            log.info("Using the CPU with %d threads.", torch.get_num_threads())
        yield device


@contextmanager
def _leased(visible: Sequence[str], count: int, folder: Path, patience_seconds: float) -> Iterator[Device]:
    """Lease some of the visible GPUs and have CUDA see no others.

    :raises _NoGpuError: there is none that can be used.
    """
    if _is_cuda_initialized():
        raise RuntimeError(
            "CUDA was initialised in this process before a GPU was leased, so it sees GPUs that others may have. "
            "Borrow the device before anything looks at torch.cuda, and only once in a process."
        )
    if not visible:
        raise _NoGpuError(_why_none())
    if not torch.backends.cuda.is_built():
        raise _NoGpuError(f"PyTorch {torch.__version__} was built without CUDA: install its build for CUDA.")
    known = installed_gpus()
    identity, named = identify(visible, known), dict[str, str]()
    for name in visible:
        named.setdefault(identity[name], name)
    if count > len(named):
        raise DeviceError(
            f"{count} GPUs are wanted and this worker may use {len(named)} ({', '.join(named.values())}): ask for "
            "fewer (PODSEARCH_TRAINING_GPUS), or run the task where there are more."
        )
    with lease(list(named), count=count, folder=folder, patience_seconds=patience_seconds) as taken:
        tokens = [named[one] for one in taken]
        with _only_visible(tokens):
            # A GPU that PyTorch's build or the driver cannot use is found out here and not in the middle of the work.
            if not torch.cuda.is_available() or torch.cuda.device_count() != count:
                raise _NoGpuError(
                    f"CUDA cannot use {', '.join(tokens)}: see that nvidia-smi lists it on this worker, that the "
                    f"driver is new enough for CUDA {torch.version.cuda}, and that {VISIBLE} is right, if it is set."
                )
            models = {gpu.uuid: gpu.name for gpu in known}
            yield Device("cuda", tuple(tokens), tuple(models.get(one, named[one]) for one in taken))


def _why_none() -> str:
    if VISIBLE in os.environ:
        return f"{VISIBLE}={os.environ[VISIBLE]!r} hides all GPUs from this worker: unset it, or name some."
    return "NVIDIA's driver shows none to this worker: see that nvidia-smi lists one there, in its container too."


@contextmanager
def _only_visible(tokens: Sequence[str]) -> Iterator[None]:
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = ",".join(tokens)
    try:
        yield
    finally:
        os.environ.pop(VISIBLE, None)
        if before is not None:
            os.environ[VISIBLE] = before


def _is_cuda_initialized() -> bool:
    """Whether anything in this process has initialised CUDA: not PyTorch alone may have done it."""
    if torch.cuda.is_initialized():
        return True
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    # Before cuInit, the driver answers this with CUDA_ERROR_NOT_INITIALIZED; asking does not initialise it.
    return int(driver.cuDeviceGetCount(ctypes.byref(ctypes.c_int()))) == 0


def _share_of_cores(held: int = 0, visible: int = 0) -> int:
    """Threads for the holder of some GPUs: as large a part of the cores as it has of the GPUs; all without any."""
    cores = len(os.sched_getaffinity(0))
    return max(1, cores * held // visible) if held else cores
