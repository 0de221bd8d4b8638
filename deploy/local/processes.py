"""Airflow's processes: starting them, knowing which run, stopping them all."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

import psutil

COMPONENTS: dict[str, list[str]] = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
GRACE_SECONDS = 20
_PR_SET_PDEATHSIG = 1


class ComponentError(RuntimeError):
    """A process of Airflow ended or did not come up; the message has the end of its log."""


class Airflow:
    """The Airflow of one home folder.

    :param environment: of all its processes, see :func:`deploy.local.environment.airflow_environment`.
    """

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.environment = environment
        self.state_file = home / "processes.json"
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def migrate(self) -> None:
        """Create the metadata database, or bring it to this version.

        :raises ComponentError: Airflow could not.
        """
        log = self.log_file("db-migrate")
        with log.open("wb") as output:
            done = subprocess.run(  # noqa: S603
                [*_airflow(), "db", "migrate"],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise ComponentError(f"airflow db migrate failed:\n{tail(log)}")

    def start(self, *, outlive_parent: bool) -> None:
        """Start every component in a session of its own.

        :param outlive_parent: leave them running when this process ends; else they end with it, however it ends.
        """
        for name, arguments in COMPONENTS.items():
            with self.log_file(name).open("wb") as output:
                self._started[name] = subprocess.Popen(  # noqa: S603
                    [*_airflow(), *arguments],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=None if outlive_parent else _end_with_parent(),
                )
        self.state_file.write_text(json.dumps({name: process.pid for name, process in self._started.items()}))

    def running(self) -> dict[str, psutil.Process]:
        """The components of this home that run, whoever started them."""
        if not self.state_file.exists():
            return {}
        found = {}
        for name, pid in json.loads(self.state_file.read_text()).items():
            try:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("AIRFLOW_HOME") == str(self.home):
                    found[name] = process
            except psutil.Error:
                continue
        return found

    def check(self) -> None:
        """Hold that all that was started still runs.

        :raises ComponentError: a component ended.
        """
        for name, process in self._started.items():
            if process.poll() is not None:
                raise ComponentError(
                    f"Airflow's {name} ended (exit {process.returncode}):\n{tail(self.log_file(name))}"
                )

    def stop(self) -> list[str]:
        """Stop every component with its children, gently and then for sure; the names of those that ran."""
        running = self.running()
        families = [process for parent in running.values() for process in (parent, *_children(parent))]
        for process in running.values():
            _signal(process, signal.SIGTERM)
        _, alive = psutil.wait_procs(families, timeout=GRACE_SECONDS)
        for process in alive:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=5)
        for started in self._started.values():
            started.poll()
        self.state_file.unlink(missing_ok=True)
        return sorted(running)

    def log_file(self, name: str) -> Path:
        folder = self.home / "logs" / "components"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"


def tail(file: Path, lines: int = 25) -> str:
    """The last lines of a log."""
    if not file.exists():
        return "(no log)"
    with file.open(errors="replace") as stream:
        return "".join(deque(stream, maxlen=lines)).rstrip()


def _airflow() -> list[str]:
    """The airflow command of this environment, whatever PATH says."""
    return [sys.executable, "-m", "airflow"]


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)


def _end_with_parent() -> Callable[[], None] | None:
    """For Linux: have the kernel end the child when this process dies, even by SIGKILL."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec
