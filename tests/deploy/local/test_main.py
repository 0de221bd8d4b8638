"""The commands, with real processes in Airflow's place and a stand-in that answers for its API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.local import __main__ as runner
from deploy.local.api import AirflowApi
from deploy.local.environment import airflow_home, passwords_file
from deploy.local.processes import Airflow
from include.errors import PermanentError
from include.settings import PROJECT, Settings, get_settings
from include.settings.groups import Installation
from tests.standins.airflow_api import AirflowStandIn, Moment, task
from tests.standins.serving import free_port

INGEST = ("ingest_episodes", "manual__1")


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


def test_another_port_than_the_running_one_is_said_and_not_waited_for(
    running: Airflow, main: Callable[[str], int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODSEARCH_PORT", "8099")
    get_settings.cache_clear()
    assert main("run") == 1
    assert f"Airflow is already running at {running.url}, not at http://127.0.0.1:8099" in capsys.readouterr().out
    assert running.is_whole()


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
    assert "Failed: ingest_episodes. Search continues with what was live before." in printed


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
