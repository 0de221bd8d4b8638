"""Settings of an installation in a temporary folder, a stand-in for its Airflow, and a terminal that can be read."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from deploy.local.environment import airflow_home, passwords_file
from include.home import claim
from include.settings import Settings
from include.settings.groups import Airflow, Installation
from tests.standins.airflow_api import AirflowStandIn


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
        settings = Settings(installation=Installation(home=tmp_path / "home"), airflow=Airflow(port=port))
        claim(settings.installation.home)
        airflow_home(settings.installation.home).mkdir()
        passwords_file(settings).write_text(json.dumps({"admin": airflow_standin.password}))
        yield settings
