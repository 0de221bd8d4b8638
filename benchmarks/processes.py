"""Running a command as a separate process and measuring it together with all processes that it starts."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.2
"""Between two looks at memory: each look costs the process that is looked at some milliseconds a GiB."""


@dataclass(frozen=True)
class Usage:
    """Wall and CPU seconds (user and system), and the largest memory seen (MiB) of a command and its children.

    Memory is the sum of proportional set sizes (PSS): what processes share is counted once.
    """

    wall: float
    user: float
    system: float
    peak_mib: float

    @property
    def cpu(self) -> float:
        return self.user + self.system


def run(command: Sequence[str], *, cwd: Path) -> tuple[Usage, str]:
    """Run a command; what it used, and what it printed last.

    :raises subprocess.CalledProcessError: it failed.
    """
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, text=True)  # noqa: S603
    peak: list[float] = [0.0]
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(process.pid, ended, peak))
    watch.start()
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    # Not process.wait(): only this call says what the process and the children it waited for have used.
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    watch.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Usage(wall, usage.ru_utime, usage.ru_stime, peak[0]), lines[-1] if lines else ""


def _watch(pid: int, ended: threading.Event, peak: list[float]) -> None:
    while not ended.wait(SAMPLE_SECONDS):
        peak[0] = max(peak[0], _pss_mib(pid))


def _pss_mib(pid: int) -> float:
    total = 0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for process in family:
        try:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except OSError:  # it has just ended
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024
