"""Leaving Airflow and search running, and stopping them, with real processes in Airflow's place."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

import psutil
import pytest

from deploy.local import __main__ as runner
from deploy.local import processes
from deploy.local.processes import Airflow
from include.settings import Settings, get_settings
from operators.pools import POOLS, Pool
from tests.standins.airflow_api import AirflowStandIn


def test_a_port_in_use_starts_nothing(main: Callable[[str], int], capsys: pytest.CaptureFixture[str]) -> None:
    """The stand-in listens where Airflow should."""
    assert main("up") == 1
    assert "PODSEARCH_PORT" in capsys.readouterr().out
    assert main("down") == 0
    assert "Airflow was not running." in capsys.readouterr().out


def test_down_stops_what_runs(running: Airflow, main: Callable[[str], int], capsys: pytest.CaptureFixture[str]) -> None:
    assert main("down") == 0
    assert capsys.readouterr().out.strip() == "Stopped api-server, dag-processor, scheduler, triggerer."
    assert running.running() == set()


@pytest.mark.parametrize(("name", "value"), [("PODSEARCH_SHADRS", "4"), ("PODSEARCH_PORT", "eighty")])
def test_down_stops_what_runs_although_settings_are_wrong(
    running: Airflow,
    main: Callable[[str], int],
    name: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It needs to know the home, and nothing else."""
    monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    assert main("down") == 0
    assert capsys.readouterr().out.strip() == "Stopped api-server, dag-processor, scheduler, triggerer."
    assert running.running() == set()


def test_down_names_a_home_that_can_be_none(
    main: Callable[[str], int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODSEARCH_HOME", "/")
    assert main("down") == 1
    assert capsys.readouterr().out.startswith("PODSEARCH_HOME: / contains more than podsearch")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"components": {"scheduler": {}}}'])
def test_down_stops_what_runs_although_notes_are_damaged(
    running: Airflow, main: Callable[[str], int], content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    processes = [psutil.Process(one.pid) for one in running._components().values()]
    for name in ("processes.json", "secrets.json"):
        (running.home / name).write_text(content)
    assert main("down") == 0
    assert capsys.readouterr().out.strip() == "Stopped api-server, dag-processor, scheduler, triggerer."
    assert [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []


def test_up_while_up_says_where_it_is(
    running: Airflow,
    main: Callable[[str], int],
    airflow_standin: AirflowStandIn,
    capsys: pytest.CaptureFixture[str],
) -> None:
    airflow_standin.dags = dict.fromkeys(runner.DAGS, True)
    assert main("up") == 0
    printed = capsys.readouterr().out
    assert running.url in printed
    assert f"as admin with the password {airflow_standin.password}" in printed
    assert set(airflow_standin.pools) == set(POOLS)
    assert airflow_standin.dags == dict.fromkeys(runner.DAGS, False)
    assert running.is_whole()


@pytest.mark.parametrize(
    ("visible", "device", "slots"), [("0,1,2", "auto", 3), ("0,1,2", "cpu", 1), ("", "auto", 1), ("7", "cuda", 1)]
)
def test_the_pool_of_the_gpus_has_a_slot_for_each(
    running: Airflow,
    main: Callable[[str], int],
    airflow_standin: AirflowStandIn,
    monkeypatch: pytest.MonkeyPatch,
    visible: str,
    device: str,
    slots: int,
) -> None:
    """On a machine without one there is a slot too."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("PODSEARCH_DEVICE", device)
    get_settings.cache_clear()
    airflow_standin.dags = dict.fromkeys(runner.DAGS, True)
    assert main("up") == 0
    assert airflow_standin.pools[Pool.GPU]["slots"] == slots
    assert airflow_standin.pools[Pool.INDEX]["slots"] == 1


def test_up_leaves_search_running_beside_airflow_and_down_stops_it(
    running: Airflow,
    main: Callable[..., int],
    search_port: int,
    airflow_standin: AirflowStandIn,
    capsys: pytest.CaptureFixture[str],
) -> None:
    airflow_standin.dags = dict.fromkeys(runner.DAGS, True)
    assert main("up") == 0
    assert f"Search is served at http://127.0.0.1:{search_port}" in capsys.readouterr().out
    assert "search" in running.running()
    assert running.log_file("search").read_text() == "listens\n"
    assert running.is_whole()
    search = psutil.Process(running._components()["search"].pid)
    assert not [name for name in search.environ() if name.startswith("AIRFLOW")], "it has none of Airflow's keys"
    assert main("up") == 0
    assert "Search is already being served" in capsys.readouterr().out
    # A run goes on although search has died.
    search.kill()
    search.wait()
    running.check()
    assert main("up") == 0
    assert main("down") == 0
    assert "Stopped api-server, dag-processor, scheduler, search, triggerer." in capsys.readouterr().out
    assert running.running() == set()


def test_airflow_may_be_left_running_alone(
    running: Airflow, main: Callable[..., int], airflow_standin: AirflowStandIn
) -> None:
    airflow_standin.dags = dict.fromkeys(runner.DAGS, True)
    assert main("up", "--without-search") == 0
    assert "search" not in running.running()


def test_a_port_in_use_where_search_should_listen_starts_nothing(
    main: Callable[..., int], search_port: int, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", search_port)):
        assert main("up") == 1
    printed = capsys.readouterr().out
    assert f"Port {search_port} on 127.0.0.1 cannot be used" in printed
    assert "PODSEARCH_SEARCH_PORT" in printed
    assert "Starting" not in printed


def test_search_that_ends_at_once_says_why(
    running: Airflow,
    main: Callable[..., int],
    airflow_standin: AirflowStandIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    airflow_standin.dags = dict.fromkeys(runner.DAGS, True)
    monkeypatch.setattr(processes, "_search", lambda: [sys.executable, "-c", "import sys; sys.exit('no model')"])
    assert main("up") == 1
    printed = capsys.readouterr().out
    assert "Search ended" in printed
    assert "no model" in printed
    assert running.is_whole()


def test_search_that_others_could_use_is_not_started_without_a_token(
    main: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODSEARCH_SEARCH_HOST", "0.0.0.0")
    get_settings.cache_clear()
    assert main("up") == 1
    assert "PODSEARCH_SEARCH_TOKEN_FILE" in capsys.readouterr().out
