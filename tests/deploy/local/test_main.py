"""The commands, with real processes in Airflow's place and a stand-in that answers for its API."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local import __main__ as runner
from deploy.local import processes
from deploy.local.api import AirflowApi
from deploy.local.environment import airflow_environment, airflow_home, passwords_file
from deploy.local.processes import Airflow
from include.errors import PermanentError
from include.settings import PROJECT, Settings, get_settings
from include.settings.groups import Installation
from operators.names import POOLS, Pool
from tests.standins.airflow_api import AirflowStandIn, Moment, task

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
INGEST = ("ingest_episodes", "manual__1")


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """What is run in place of ``python -m airflow``."""
    script = tmp_path / "airflow.py"
    script.write_text(AIRFLOW)
    return [sys.executable, str(script)]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


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


@pytest.mark.parametrize("name", ["run", "up"])
def test_settings_that_are_wrong_are_named_in_a_line(
    main: Callable[[str], int], name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODSEARCH_PORT", "eighty")
    get_settings.cache_clear()
    assert main(name) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("PODSEARCH_PORT: ")
    assert "Traceback" not in printed


def test_what_an_error_says_is_printed_as_it_is(
    main: Callable[[str], int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(settings: Settings) -> int:
        raise PermanentError("a file [red]with[/] a [/name]")

    monkeypatch.setattr(runner, "run", fail)
    assert main("run") == 1
    assert "a file [red]with[/] a [/name]" in capsys.readouterr().out


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
    assert capsys.readouterr().out.startswith("PODSEARCH_HOME: / holds more than podsearch")


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


def test_another_port_than_the_running_one_is_said_and_not_waited_for(
    running: Airflow, main: Callable[[str], int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODSEARCH_PORT", "8099")
    get_settings.cache_clear()
    assert main("run") == 1
    assert f"Airflow already runs, at {running.url} and not at http://127.0.0.1:8099" in capsys.readouterr().out
    assert running.is_whole()


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
    assert "Search is served already" in capsys.readouterr().out
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


def test_a_run_while_up_leaves_airflow_running(
    running: Airflow,
    main: Callable[[str], int],
    airflow_standin: AirflowStandIn,
    capsys: pytest.CaptureFixture[str],
) -> None:
    airflow_standin.dags = dict.fromkeys(runner.DAGS, False)
    airflow_standin.moments = [Moment(runs={INGEST: "running"}), Moment(runs={INGEST: "success"})]
    assert main("run") == 0
    assert airflow_standin.triggered == ["ingest_episodes"]
    assert running.is_whole()
    assert "Nothing is live yet." in capsys.readouterr().out


def test_a_run_that_fails_shows_why(
    running: Airflow,
    main: Callable[[str], int],
    settings: Settings,
    airflow_standin: AirflowStandIn,
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs = (
        airflow_home(settings.installation.home)
        / "logs"
        / "dag_id=ingest_episodes"
        / f"run_id={INGEST[1]}"
        / "task_id=check_source"
    )
    logs.mkdir(parents=True)
    (logs / "attempt=1.log").write_text(json.dumps({"event": "there is no [bold]file[/bold]"}))
    airflow_standin.dags = dict.fromkeys(runner.DAGS, False)
    airflow_standin.moments = [Moment(runs={INGEST: "failed"}, tasks={INGEST: [task("check_source", "failed")]})]
    assert main("run") == 1
    printed = capsys.readouterr().out
    assert "ingest_episodes · check_source failed; the end of its log:\nthere is no [bold]file[/bold]" in printed
    assert "Failed: ingest_episodes. Search goes on with what was live before." in printed


def test_what_an_earlier_run_left_is_taken_up(
    running: Airflow,
    main: Callable[[str], int],
    airflow_standin: AirflowStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing new comes in, so no asset starts the other DAGs."""
    monkeypatch.setattr(runner, "_left_undone", lambda settings: "train_retriever")
    airflow_standin.dags = dict.fromkeys(runner.DAGS, False)
    airflow_standin.moments = [Moment(runs={INGEST: "success"})]
    assert main("run") == 0
    assert airflow_standin.triggered == ["ingest_episodes", "train_retriever"]


def test_a_component_that_dies_while_it_is_followed_ends_the_run(
    running: Airflow,
    main: Callable[[str], int],
    airflow_standin: AirflowStandIn,
    capsys: pytest.CaptureFixture[str],
) -> None:
    airflow_standin.dags = dict.fromkeys(runner.DAGS, False)
    airflow_standin.moments = [Moment(runs={INGEST: "running"})]
    state = json.loads((running.home / "processes.json").read_text())
    killer = f"import os, time; time.sleep(1); os.kill({state['components']['scheduler']['pid']}, 9)"
    subprocess.Popen([sys.executable, "-c", killer])
    assert main("run") == 1
    assert "Airflow's scheduler ended" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "number"), [("run", signal.SIGINT), ("up", signal.SIGTERM)])
def test_an_interrupted_start_leaves_nothing_running(
    tmp_path: Path, command: list[str], name: str, number: signal.Signals
) -> None:
    port = free_port()
    code = (
        "import sys; from deploy.local import __main__ as runner, processes\n"
        f"processes._airflow, processes.GRACE_SECONDS = lambda: {command!r}, 2\n"
        f"sys.exit(runner.main([{name!r}]))"
    )
    home = tmp_path / "home"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PODSEARCH_HOME": str(home), "PODSEARCH_PORT": str(port)},
        stdout=subprocess.PIPE,
        text=True,
    )
    started: list[psutil.Process] = []
    deadline = time.monotonic() + 120
    while len(started) < 8 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
        started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    # Python ends by the signal itself when it fell into an eval(), as imports have; a shell calls both 130.
    assert process.returncode in (130, -signal.SIGINT), output
    assert "Interrupted" in output
    assert len(started) == 8, "four components with a child each"
    assert [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
    assert not (home / "airflow" / "processes.json").exists()
    assert not passwords_file(Settings(installation=Installation(home=home))).exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_drops_still_ends_the_run(
    running: Airflow,
    main: Callable[[str], int],
    airflow_standin: AirflowStandIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is raised in a destructor, or in a callback of an extension as libraries are imported, goes nowhere."""

    class Interrupted:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    trigger = AirflowApi.trigger

    def trigger_while_a_signal_comes(api: AirflowApi, dag_id: str) -> str:
        run = trigger(api, dag_id)
        Interrupted()
        return run

    monkeypatch.setattr(AirflowApi, "trigger", trigger_while_a_signal_comes)
    airflow_standin.dags = dict.fromkeys(runner.DAGS, False)
    airflow_standin.moments = [Moment(runs={INGEST: state}) for state in ("running", "running", "success")]
    assert main("run") == 130
    assert airflow_standin.triggered == ["ingest_episodes"]
    assert "Interrupted" in capsys.readouterr().out
