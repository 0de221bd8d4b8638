"""Where model work runs: the device and the number of threads."""

from __future__ import annotations

import logging
import os

import torch

from include.errors import PermanentError

log = logging.getLogger(__name__)


class DeviceError(PermanentError):
    """The wanted device is not there; no retry will bring it."""


def prepare_device(wanted: str, threads: int = 0) -> str:
    """Choose the device of this process and fix its threads.

    Called once, in the task's own process: CUDA does not survive a fork.

    :param wanted: ``auto``, ``cpu`` or ``cuda``.
    :param threads: threads for CPU work; 0 takes every core this process may run on.
    :returns: ``cpu`` or ``cuda``.
    :raises DeviceError: ``cuda`` was wanted and there is no GPU.
    """
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    if wanted == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        log.info("Using the GPU %s.", torch.cuda.get_device_name(0))
        return "cuda"
    if wanted == "cuda":
        raise DeviceError("A GPU is required (PODSEARCH_DEVICE=cuda) and none is visible to this worker.")
    log.info("No GPU: using the CPU with %d threads.", torch.get_num_threads())
    return "cpu"
