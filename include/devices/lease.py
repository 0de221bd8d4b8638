"""Exclusive use of devices: at most one process holds a lease on a device, and no lease outlives its process.

A lease is a lock on a file, one per device (``flock``): the kernel releases it however the process ends. Neither a
forked child nor a program that the holder starts keeps it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

from include.errors import RetryLaterError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
SAY_SECONDS = 60
"""How often a waiting process logs that it waits."""


class DevicesBusyError(RetryLaterError):
    """Others held the devices for too long."""


@contextmanager
def lease(devices: Sequence[str], *, count: int, folder: Path, patience_seconds: float) -> Iterator[list[str]]:
    """Hold some of the devices until the end of the block.

    :param devices: names of devices, those to try first before others.
    :param count: how many are needed; they are taken together or not at all.
    :param folder: holds the locks, on a local disk; all who share the devices must name the same.
    :param patience_seconds: how long to wait for others.
    :returns: names of the leased devices, in the order of ``devices``.
    :raises DevicesBusyError: they were not free in time.
    :raises ValueError: there are not that many devices.
    """
    if not 1 <= count <= len(set(devices)):
        raise ValueError(f"{count} of {len(set(devices))} devices cannot be leased.")
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    said = None
    while True:
        with ExitStack() as held:
            if taken := _take(held, devices, count, folder):
                yield taken
                return
        waited = time.monotonic() - started
        if waited >= patience_seconds:
            raise DevicesBusyError(
                f"{count} of the GPUs {', '.join(devices)} were not free within {patience_seconds:.0f} s "
                f"(last held by {_holders(devices, folder)})."
            )
        if said is None or waited - said >= SAY_SECONDS:
            said = waited
            log.info("Waiting for %d of %d GPUs (last held by %s).", count, len(devices), _holders(devices, folder))
        time.sleep(min(POLL_SECONDS, patience_seconds - waited))


def _take(held: ExitStack, devices: Sequence[str], count: int, folder: Path) -> list[str]:
    """Lock as many free devices as are needed; none if there are too few."""
    taken: list[str] = []
    try:
        # One at a time: two who need two devices each would otherwise take one each, and again and again.
        turn = _lock(folder / ".attempt").acquire(timeout=SAY_SECONDS)
    except Timeout:
        return []
    with turn, ExitStack() as tried:
        for device in dict.fromkeys(devices):
            with suppress(Timeout):
                tried.enter_context(_lock(_file(device, folder)).acquire(timeout=0))
                taken.append(device)
            if len(taken) == count:
                for mine in taken:
                    _file(mine, folder).write_text(f"process {os.getpid()} since {datetime.now(UTC):%H:%M:%S} UTC")
                held.push(tried.pop_all())
                return taken
    return []


def _lock(file: Path) -> FileLock:
    # Without flock there would be locks that a killed process leaves behind: rather none at all.
    return FileLock(file, mode=0o666, fallback_to_soft=False)


def _file(device: str, folder: Path) -> Path:
    return folder / f"{quote(device, safe='')}.lock"


def _holders(devices: Sequence[str], folder: Path) -> str:
    """Who had each of the devices last, for people to read."""
    files = {device: _file(device, folder) for device in devices}
    said = [f"{file.read_text()}: {device}" for device, file in files.items() if file.exists()]
    return "; ".join(said) or "nobody known"
