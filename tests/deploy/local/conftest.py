"""Settings of an installation in a temporary folder, stand-ins for its Airflow and search, and a terminal that can be
read."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from deploy.local import __main__ as runner
from deploy.local import processes
from deploy.local.environment import airflow_environment, airflow_home, passwords_file
from deploy.local.processes import Airflow
from include.home import claim
from include.settings import Settings, get_settings, groups
from tests.standins.airflow_api import AirflowStandIn
from tests.standins.serving import free_port

AIRFLOW = """
import signal, subprocess, sys, time
def end(*_):
    child.terminate(); child.wait(); sys.exit(0)
if sys.argv[1] != "db":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    signal.signal(signal.SIGTERM, end)
    while True: time.sleep(1)
"""
SEARCH = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listens", flush=True)
while True: time.sleep(1)
"""


class Terminal:
    """A console as the runner has it, and what was printed on it."""

    def __init__(self) -> None:
        self._file = io.StringIO()
        self.console = Console(file=self._file, highlight=False, soft_wrap=True, width=200)

    @property
    def text(self) -> str:
        return self._file.getvalue()

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.text.splitlines()]


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


@pytest.fixture
def airflow_standin() -> AirflowStandIn:
    return AirflowStandIn()


@pytest.fixture
def settings(tmp_path: Path, airflow_standin: AirflowStandIn) -> Iterator[Settings]:
    """Settings whose Airflow is the stand-in."""
    with airflow_standin.serve() as port:
        settings = Settings(installation=groups.Installation(home=tmp_path / "home"), airflow=groups.Airflow(port=port))
        claim(settings.installation.home)
        airflow_home(settings.installation.home).mkdir()
        passwords_file(settings).write_text(json.dumps({"admin": airflow_standin.password}))
        yield settings


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """What is run in place of ``python -m airflow``."""
    script = tmp_path / "airflow.py"
    script.write_text(AIRFLOW)
    return [sys.executable, str(script)]


@pytest.fixture
def search_port(monkeypatch: pytest.MonkeyPatch) -> int:
    """Where search listens; another program stands in for it."""
    port = free_port()
    monkeypatch.setenv("PODSEARCH_SEARCH_PORT", str(port))
    monkeypatch.setattr(processes, "_search", lambda: [sys.executable, "-c", SEARCH, str(port)])
    return port


@pytest.fixture
def main(settings: Settings, search_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """The command line, on the settings of the test."""
    monkeypatch.setenv("PODSEARCH_HOME", str(settings.installation.home))
    monkeypatch.setenv("PODSEARCH_PORT", str(settings.airflow.port))
    monkeypatch.setattr("deploy.local.follow.POLL_SECONDS", 0.001)
    monkeypatch.setattr("deploy.local.follow.QUIET_POLL_SECONDS", 0.001)
    monkeypatch.setattr("deploy.local.api.BACKOFF_SECONDS", 0.001)
    get_settings.cache_clear()
    handler = signal.getsignal(signal.SIGTERM)
    yield lambda *arguments: runner.main([*arguments])
    signal.signal(signal.SIGTERM, handler)
    get_settings.cache_clear()


@pytest.fixture
def running(settings: Settings, command: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Airflow]:
    """An Airflow that another command has left running."""
    monkeypatch.setattr(processes, "_airflow", lambda: command)
    monkeypatch.setattr(processes, "GRACE_SECONDS", 2)
    airflow = Airflow(airflow_home(settings.installation.home), airflow_environment(settings))
    airflow.start(outlive_parent=True)
    yield airflow
    airflow.stop()
