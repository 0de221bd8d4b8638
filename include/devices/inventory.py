"""The GPUs of this machine, as NVIDIA's management library (NVML) lists them.

CUDA itself is left alone here: a process that has initialised it can neither be given other GPUs nor fork.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable that limits which devices CUDA sees, and sets their order."""


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine."""

    index: int
    """Its number in the order of the bus."""
    uuid: str
    name: str
    """Its model, such as ``NVIDIA H100 80GB HBM3``."""


def gpus() -> list[Gpu]:
    """The GPUs of this machine, whatever CUDA_VISIBLE_DEVICES says; none if there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        log.debug("NVIDIA's driver does not answer: %s.", error)
        return []
    found = []
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                found.append(Gpu(index, pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)))
            except pynvml.NVMLError as error:
                log.warning("The GPU %d does not answer and is left out: %s.", index, error)
    except pynvml.NVMLError as error:
        log.warning("NVIDIA's driver does not list its GPUs: %s.", error)
    finally:
        pynvml.nvmlShutdown()
    return found


def visible_gpus() -> list[str]:
    """What this process may use, each as CUDA_VISIBLE_DEVICES would name it.

    :returns: the names in CUDA_VISIBLE_DEVICES as they are (numbers, ``GPU-…``, ``MIG-…``) if it is set, otherwise the
        UUIDs of all GPUs.
    """
    shown = os.environ.get(VISIBLE)
    if shown is None:
        return [gpu.uuid for gpu in gpus()]
    # CUDA takes no notice of what stands behind a name that is empty or negative.
    names = takewhile(lambda name: name and not name.startswith("-"), (part.strip() for part in shown.split(",")))
    return list(dict.fromkeys(names))


def identify(names: Iterable[str], known: Iterable[Gpu]) -> dict[str, str]:
    """One name for each device, however it was called: a number and a UUID may mean the same GPU.

    CUDA's numbers are NVML's where all GPUs are of one model, or with CUDA_DEVICE_ORDER=PCI_BUS_ID.

    :param names: as in CUDA_VISIBLE_DEVICES.
    :returns: by name: the UUID of a known GPU, otherwise the name itself.
    """
    known = list(known)

    def identity(name: str) -> str:
        same = [gpu.uuid for gpu in known if name == str(gpu.index) or gpu.uuid.startswith(name)]
        return same[0] if len(same) == 1 else name

    return {name: identity(name) for name in names}
