"""Real processes stand in for Airflow's: each starts a child of its own, as the scheduler does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local import processes
from deploy.local.processes import Airflow, ComponentError, tail
from include.settings import PROJECT

CHILD = "import time\nwhile True: time.sleep(1)"
GENTLE = f"""
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}])
def end(*_):
    child.terminate(); child.wait(); sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", child.pid, flush=True)
while True: time.sleep(1)
"""
STUBBORN = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}])
print("ready", child.pid, flush=True)
while True: time.sleep(1)
"""
# As Airflow's API server does, with a title so long that it covers the environment in memory.
TITLED = f"import setproctitle; setproctitle.setproctitle('airflow ' + 'x' * 20000)\n{GENTLE}"
FAILING = "import sys; print('first line'); sys.exit('no such table')"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Airflow]]:
    """An Airflow whose components are the given programs; what is left of it is killed in the end."""
    monkeypatch.setattr(processes, "GRACE_SECONDS", 2)
    monkeypatch.setattr(processes, "_airflow", lambda: [sys.executable])
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__API__BASE_URL": "http://127.0.0.1:8099"}
    made: list[Airflow] = []

    def make_airflow(**programs: str) -> Airflow:
        if programs:
            monkeypatch.setattr(processes, "COMPONENTS", {name: ["-c", code] for name, code in programs.items()})
        airflow = Airflow(tmp_path, environment)
        made.append(airflow)
        return airflow

    yield make_airflow
    for airflow in made:
        airflow.stop()


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def family(airflow: Airflow, *names: str) -> list[psutil.Process]:
    """The named components and their children, once they are up."""
    found = []
    for name in names:
        log = airflow.log_file(name)
        # The whole line: unbuffered, its words are written one by one.
        wait_for(lambda log=log: log.exists() and re.search(r"ready \d+\n", log.read_text()))  # type: ignore[misc]
        pid = json.loads((airflow.home / "processes.json").read_text())["components"][name]["pid"]
        found += [psutil.Process(pid), psutil.Process(int(log.read_text().split()[1]))]
    return found


def left(members: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in members if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_stopping_ends_the_whole_family(make: Callable[..., Airflow]) -> None:
    airflow = make(scheduler=GENTLE, api=TITLED)
    airflow.start(outlive_parent=False)
    members = family(airflow, "scheduler", "api")
    assert len(left(members)) == 4
    assert airflow.is_whole()
    airflow.check()

    assert airflow.stop() == ["api", "scheduler"]
    assert left(members) == []
    assert airflow.running() == set()
    assert airflow.stop() == []


def test_what_one_command_left_running_another_stops(make: Callable[..., Airflow]) -> None:
    """A process that sets its title loses its environment: it must be known by something else."""
    airflow = make(api=TITLED)
    airflow.start(outlive_parent=True)
    members = family(airflow, "api")
    other = make()
    assert other.is_whole()
    assert other.running_at() == "http://127.0.0.1:8099"
    other.check()
    assert other.stop() == ["api"]
    assert left(members) == []


def test_what_does_not_heed_is_killed(make: Callable[..., Airflow]) -> None:
    airflow = make(scheduler=STUBBORN)
    airflow.start(outlive_parent=False)
    members = family(airflow, "scheduler")
    assert airflow.stop() == ["scheduler"]
    assert left(members) == []


def test_a_second_interrupt_ends_the_wait(make: Callable[..., Airflow], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_SECONDS", 60)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where the tests run in the background
    airflow = make(scheduler=STUBBORN)
    airflow.start(outlive_parent=False)
    members = family(airflow, "scheduler")
    subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(1); os.kill({os.getpid()}, {signal.SIGINT})"])
    started = time.monotonic()
    airflow.stop()
    assert time.monotonic() - started < 20
    assert left(members) == []


def test_a_component_that_died_is_reported_with_the_end_of_its_log(make: Callable[..., Airflow]) -> None:
    airflow = make(scheduler=FAILING)
    airflow.start(outlive_parent=False)
    wait_for(lambda: not airflow.running())
    with pytest.raises(ComponentError, match=r"scheduler ended \(exit 1\):\nfirst line\nno such table"):
        airflow.check()


def test_what_a_dead_component_left_behind_is_stopped_too(make: Callable[..., Airflow]) -> None:
    airflow = make(scheduler=GENTLE)
    airflow.start(outlive_parent=False)
    component, child = family(airflow, "scheduler")
    component.kill()
    wait_for(lambda: not airflow.running())
    assert left([child]) == [child]
    assert airflow.stop() == ["scheduler"]
    assert left([child]) == []


def test_being_stopped_by_another_command_is_noticed(make: Callable[..., Airflow]) -> None:
    airflow = make(scheduler=GENTLE)
    airflow.start(outlive_parent=False)
    family(airflow, "scheduler")
    make().stop()
    with pytest.raises(ComponentError, match="stopped by another command"):
        airflow.check()


def test_a_program_that_has_the_pid_now_is_let_be(make: Callable[..., Airflow]) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=True)
    try:
        airflow = make()
        component = {"pid": stranger.pid, "created": psutil.Process(stranger.pid).create_time() - 86_400}
        (airflow.home / "processes.json").write_text(
            json.dumps({"url": airflow.url, "components": {"scheduler": component}})
        )
        assert airflow.running() == set()
        assert airflow.stop() == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_two_commands_do_not_start_the_same_airflow(make: Callable[..., Airflow]) -> None:
    one, other = make(), make()
    refused = pytest.raises(ComponentError, match="Another command is starting Airflow")
    with one.starting(), refused, other.starting():
        pass
    with other.starting():
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
@pytest.mark.parametrize("outlive", [False, True])
def test_components_end_with_a_killed_parent_unless_they_are_to_outlive_it(
    make: Callable[..., Airflow], tmp_path: Path, outlive: bool
) -> None:
    code = f"""
import os, signal, sys
from pathlib import Path
from deploy.local import processes
processes.COMPONENTS = {{"scheduler": ["-c", {GENTLE!r}]}}
processes._airflow = lambda: [sys.executable]
airflow = processes.Airflow(Path({str(tmp_path)!r}), {{**os.environ, "AIRFLOW__API__BASE_URL": "http://x"}})
airflow.start(outlive_parent={outlive})
os.kill(os.getpid(), signal.SIGKILL) if input() else None
"""
    runner = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(PROJECT)}, text=True
    )
    airflow = make()
    wait_for((airflow.home / "processes.json").exists)
    members = family(airflow, "scheduler")
    runner.communicate("now\n")
    assert runner.returncode == -signal.SIGKILL
    if outlive:
        time.sleep(0.3)
        assert left(members) == members
    else:
        wait_for(lambda: not left(members))


def test_a_database_that_cannot_be_made_is_reported(
    make: Callable[..., Airflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_airflow", lambda: [sys.executable, "-c", FAILING])
    with pytest.raises(ComponentError, match=r"db migrate failed:\nfirst line\nno such table"):
        make().migrate()


def test_the_end_of_a_log_is_a_few_lines(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log") == "(no log)"
    (tmp_path / "long.log").write_bytes(b"".join(b"line %d \xff\n" % n for n in range(100)))
    assert tail(tmp_path / "long.log", 2) == "line 98 \ufffd\nline 99 \ufffd"
