"""Airflow's processes, and search beside them: starting them, knowing which run, stopping them all."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from deploy import clean_database
from deploy.local.environment import COMPONENT, DATABASE
from include.storage import ArtifactStore

COMPONENTS: dict[str, list[str]] = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
SEARCH = "search"
"""The search service, which is no part of Airflow: it may run beside it."""
GRACE_SECONDS = 20
CLOCK_SECONDS = 60
"""By how much the start of one process may seem to differ, as clocks are set; a recycled pid is older by far."""
POLL_SECONDS = 0.2
STATE = "processes.json"
_PR_SET_PDEATHSIG = 1
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError)
"""What reading a note raises that is not as it was written."""


class ComponentError(RuntimeError):
    """A process of Airflow ended or did not come up; the message has the end of its log."""


@dataclass(frozen=True)
class Component:
    """A process that was started, told from a later one with the same pid by when it was created."""

    pid: int
    created: float

    def runs(self) -> bool:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            return process.status() != psutil.STATUS_ZOMBIE and self._is(process)
        return False

    def family(self) -> list[psutil.Process]:
        """The process and all it started, in the session that it leads; if it has died, what it left behind."""
        try:
            mine = self._is(psutil.Process(self.pid))
        except psutil.Error:
            mine = self.created >= psutil.boot_time()
        return [member for member in psutil.process_iter() if _session_of(member) == self.pid] if mine else []

    def _is(self, process: psutil.Process) -> bool:
        # Not told by its environment: a process that sets its title loses that.
        return abs(process.create_time() - self.created) < CLOCK_SECONDS


class Airflow:
    """The Airflow of one home folder.

    :param environment: of all its processes, see :func:`deploy.local.environment.airflow_environment`.
    """

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.environment = environment
        self._store = ArtifactStore(home)
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """Where it answers once it is started."""
        return self.environment["AIRFLOW__API__BASE_URL"]

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Keep others from starting the same Airflow meanwhile.

        :raises ComponentError: another command does.
        """
        with (self.home / "start.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ComponentError("Another command is starting Airflow: try again when it is up.") from None
            yield

    def migrate(self) -> bool:
        """Create the metadata database, or bring it to this version.

        :returns: whether it was there before.
        :raises ComponentError: Airflow could not.
        """
        was_there = (self.home / DATABASE).exists()
        self._run("db-migrate", ["db", "migrate"])
        return was_there

    def clean_database(self, days: int) -> None:
        """Remove what is older than so many days from the metadata database.

        :raises ComponentError: Airflow could not.
        """
        self._run("db-clean", clean_database.arguments(days))

    def _run(self, name: str, arguments: list[str]) -> None:
        log = self.log_file(name)
        with log.open("wb") as output:
            done = subprocess.run(  # noqa: S603
                [*_airflow(), *arguments],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise ComponentError(f"airflow {name.replace('-', ' ')} failed:\n{tail(log)}")

    def start(self, *, outlive_parent: bool) -> None:
        """Start every component in a session of its own.

        :param outlive_parent: leave them running when this process ends; else they end with it, however it ends.
        """
        for name, arguments in COMPONENTS.items():
            self._start(name, [*_airflow(), *arguments], self.environment, outlive_parent=outlive_parent)

    def start_search(self, url: str, check: Callable[[], None]) -> None:
        """Start search and leave it running; wait until it listens. It is given none of Airflow's keys.

        :param url: where it will listen.
        :param check: what every wait calls between two looks.
        :raises ComponentError: it ended.
        """
        environment = {name: value for name, value in self.environment.items() if not name.startswith("AIRFLOW")}
        self._start(SEARCH, _search(), environment, outlive_parent=True)
        while not _listens(url):
            check()
            self._check(SEARCH)
            time.sleep(POLL_SECONDS)

    def _start(self, name: str, command: list[str], environment: dict[str, str], *, outlive_parent: bool) -> None:
        components = self._components()
        with self.log_file(name).open("wb") as output:
            started = subprocess.Popen(  # noqa: S603
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=None if outlive_parent else _end_with_parent(),
            )
        self._started[name] = started
        components[name] = Component(started.pid, psutil.Process(started.pid).create_time())
        # After each, so that what was started can be stopped whatever happens to this process.
        state = {"url": self.url, "components": {key: asdict(value) for key, value in components.items()}}
        self._store.write_json(state, STATE)

    def running(self) -> set[str]:
        """Names of the components of this home that run, whoever started them."""
        return {name for name, component in self._components().items() if component.runs()}

    def is_whole(self) -> bool:
        """Whether every component of Airflow runs."""
        return self.running() >= set(COMPONENTS)

    def running_at(self) -> str:
        """Where the running Airflow answers: not at :attr:`url` if it was started with other settings."""
        with contextlib.suppress(FileNotFoundError, *_DAMAGE):
            return str(self._store.read_json(STATE)["url"])
        return self.url

    def check(self) -> None:
        """Hold that all that was started of Airflow still runs.

        :raises ComponentError: a component ended, or all were stopped.
        """
        components = self._components()
        if not components:
            raise ComponentError("Airflow was stopped by another command.")
        for name in sorted(components.keys() & COMPONENTS):
            self._check(name)

    def _check(self, name: str) -> None:
        if name not in self.running():
            started = self._started.get(name)
            code = f" (exit {started.poll()})" if started else ""
            what = f"Airflow's {name}" if name in COMPONENTS else name.capitalize()
            raise ComponentError(f"{what} ended{code}:\n{tail(self.log_file(name))}")

    def stop(self) -> list[str]:
        """Stop every component with its children, gently and then for sure; the names of those that ran.

        Interrupted while it waits, it waits no longer.
        """
        components = self._components()
        families = {name: family for name, component in components.items() if (family := component.family())}
        for name, family in families.items():
            leaders = [process for process in family if process.pid == components[name].pid]
            for process in leaders or family:  # a component stops its own children, unless it has died
                _signal(process, signal.SIGTERM)
        with contextlib.suppress(KeyboardInterrupt):
            psutil.wait_procs([process for family in families.values() for process in family], timeout=GRACE_SECONDS)
        left = [process for name in families for process in components[name].family()]
        for process in left:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(left, timeout=5)
        for started in self._started.values():
            started.poll()
        self._started.clear()
        self._store.remove(STATE)
        return sorted(families)

    def _components(self) -> dict[str, Component]:
        if not self._store.exists(STATE):
            return {}
        try:
            return {name: Component(**value) for name, value in self._store.read_json(STATE)["components"].items()}
        except _DAMAGE:
            return self._components_by_logs()

    def _components_by_logs(self) -> dict[str, Component]:
        """What runs, where the note of it is damaged: the sessions of the processes that write to the logs."""
        logs = {str(self.log_file(name).resolve()): name for name in (*COMPONENTS, SEARCH)}
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                name = next(
                    (logs[file.path] for file in process.open_files() if file.fd == 1 and file.path in logs), ""
                )
                session = _session_of(process) if name else None
                if name and session:
                    found[name] = Component(session, process.create_time())
        return found

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
    return [sys.executable, "-m", COMPONENT]


def _search() -> list[str]:
    """What serves search, as the settings have it."""
    return [sys.executable, "-m", "include.search.http"]


def _listens(url: str) -> bool:
    """Whether somebody takes connections there."""
    parts = urlsplit(url)
    with contextlib.suppress(OSError), socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1):
        return True
    return False


def _session_of(process: psutil.Process) -> int | None:
    """The session of a process; None if it has ended."""
    with contextlib.suppress(psutil.Error, OSError):
        return os.getsid(process.pid) if process.status() != psutil.STATUS_ZOMBIE else None
    return None


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
