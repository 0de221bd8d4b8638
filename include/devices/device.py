"""Where model work runs: on leased GPUs or on the CPU, and with how many threads."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from include.devices.inventory import VISIBLE, identify, visible_gpus
from include.devices.inventory import gpus as installed_gpus
from include.devices.lease import lease
from include.errors import PermanentError

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 600
"""How long to wait for others: with one task per GPU, only a killed task that has not let go yet, or somebody's own
work, is in the way."""
REMEDY = "Or set PODSEARCH_DEVICE: auto uses a GPU if there is one, cpu never does."


class DeviceError(PermanentError):
    """The required device does not exist; retrying will not help."""


class _NoGpuError(Exception):
    """No GPU can be used; the message says why, and what to check."""


@dataclass(frozen=True)
class Device:
    """What a piece of work runs on."""

    kind: Literal["cpu", "cuda"]
    """As PyTorch calls it; of several GPUs it means the first."""
    gpus: tuple[str, ...] = ()
    """The leased GPUs, as CUDA_VISIBLE_DEVICES names them; CUDA sees them as 0, 1, …, and no others."""
    names: tuple[str, ...] = ()
    """Their models."""
    threads: int = field(default=1, compare=False)
    """For work on the CPU; PyTorch in this process has as many."""
    fallback: bool = False
    """A GPU would have been used, but there is none."""


@contextmanager
def borrow(
    wanted: str, *, gpus: int, threads: int, folder: Path, patience_seconds: float = PATIENCE_SECONDS
) -> Iterator[Device]:
    """Borrow a device until the end of the block: leased GPUs, or the CPU.

    Call it once, in the task's own process and before CUDA is initialised there, because CUDA reads only then which
    GPUs it may see.

    :param wanted: ``auto``, ``cpu`` or ``cuda``.
    :param gpus: how many, if any.
    :param threads: threads for CPU work; 0 takes every core this process may run on, or beside GPUs their share.
    :param folder: holds the locks, see :func:`include.devices.lease.lease`.
    :param patience_seconds: how long to wait for GPUs that others hold.
    :raises DeviceError: ``cuda`` was requested and no GPU can be used, or there are too few.
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
        cores = len(os.sched_getaffinity(0))
        share = max(1, cores * len(device.gpus) // len(visible)) if device.gpus else cores
        device = replace(device, threads=threads or share)
        torch.set_num_threads(device.threads)
        if device.gpus:
            log.info("Leased %s (%s).", ", ".join(device.names), ",".join(device.gpus))
        else:
            log.info("Using the CPU with %d threads.", device.threads)
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
        raise _NoGpuError(f"PyTorch {torch.__version__} was built without CUDA: install its CUDA build.")
    known = installed_gpus()
    identity, named = identify(visible, known), dict[str, str]()
    for name in visible:
        named.setdefault(identity[name], name)
    if count > len(named):
        raise DeviceError(
            f"{count} GPUs are needed, but this worker may use {len(named)} ({', '.join(named.values())}): ask for "
            "fewer (PODSEARCH_TRAINING_GPUS), or run the task where there are more."
        )
    with lease(list(named), count=count, folder=folder, patience_seconds=patience_seconds) as taken:
        tokens = [named[one] for one in taken]
        with _only_visible(tokens):
            # A GPU that PyTorch's build or the driver cannot use is found out here and not in the middle of the work.
            if not torch.cuda.is_available() or torch.cuda.device_count() != count:
                raise _NoGpuError(
                    f"CUDA cannot use {', '.join(tokens)}: check that nvidia-smi lists it on this worker, that the "
                    f"driver is new enough for CUDA {torch.version.cuda}, and that {VISIBLE} is right, if it is set."
                )
            models = {gpu.uuid: gpu.name for gpu in known}
            yield Device("cuda", tuple(tokens), tuple(models.get(one, named[one]) for one in taken))


def _why_none() -> str:
    if VISIBLE in os.environ:
        return f"{VISIBLE}={os.environ[VISIBLE]!r} hides all GPUs from this worker: unset it, or name some."
    return "NVIDIA's driver shows none to this worker: check that nvidia-smi lists one there, and in its container."


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
    """Whether anything in this process has initialised CUDA: not only PyTorch may have done so."""
    if torch.cuda.is_initialized():
        return True
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    # Before cuInit, the driver answers this with CUDA_ERROR_NOT_INITIALIZED; asking does not initialise it.
    return int(driver.cuDeviceGetCount(ctypes.byref(ctypes.c_int()))) == 0
