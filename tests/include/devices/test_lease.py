from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from include.devices import lease as leases
from include.devices.lease import DevicesBusyError, lease
from include.errors import RetryLaterError
from include.settings import PROJECT

WORKER = """
import os, sys, time
from pathlib import Path
from include.devices import lease as leases
leases.POLL_SECONDS = 0.01
folder, number, devices = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(",")
for round in range(4):
    with leases.lease(devices, count=1 + (number + round) % 2, folder=folder / "locks", patience_seconds=60) as held:
        for device in held:
            os.close(os.open(folder / device, os.O_CREAT | os.O_EXCL))  # fails if another holds it
        time.sleep(0.01)
        for device in held:
            os.remove(folder / device)
    print(*held)
"""
HOLDER = """
import os, subprocess, sys, time
from pathlib import Path
from include.devices.lease import lease
with lease(["0"], count=1, folder=Path(sys.argv[1]), patience_seconds=0):
    forked = os.fork()
    if not forked:
        time.sleep(60)
        os._exit(0)
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
    print(forked, started.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "POLL_SECONDS", 0.01)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the device ``0``, with two children."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    children = [int(pid) for pid in process.stdout.readline().split()]
    assert len(children) == 2
    yield process
    for pid in (process.pid, *children):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()


def test_no_device_is_ever_held_by_two_and_everybody_is_served(tmp_path: Path) -> None:
    devices = ["0", "GPU-1", "MIG-2"]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(number), ",".join(devices)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(10)
    ]
    ended = [worker.communicate(timeout=120) for worker in workers]
    assert [errors for _, errors in ended if errors] == []
    served = [line.split() for output, _ in ended for line in output.splitlines()]
    assert Counter(map(len, served)) == {1: 20, 2: 20}
    assert {device for held in served for device in held} == set(devices)


def test_devices_are_taken_in_the_order_they_are_named(tmp_path: Path) -> None:
    with lease(["b", "a", "c"], count=2, folder=tmp_path, patience_seconds=0) as first:
        assert first == ["b", "a"]
        with lease(["a", "b", "c"], count=1, folder=tmp_path, patience_seconds=0) as second:
            assert second == ["c"]


def test_too_few_free_devices_are_not_kept_from_others(tmp_path: Path) -> None:
    with lease(["0"], count=1, folder=tmp_path, patience_seconds=0):
        with pytest.raises(DevicesBusyError), lease(["0", "1"], count=2, folder=tmp_path, patience_seconds=0):
            pass
        with lease(["0", "1"], count=1, folder=tmp_path, patience_seconds=0) as held:
            assert held == ["1"]


def test_who_is_not_served_in_time_comes_again_later(
    tmp_path: Path, holder: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with (
        pytest.raises(RetryLaterError, match=f"process {holder.pid} since") as raised,
        lease(["0"], count=1, folder=tmp_path, patience_seconds=0.05),
    ):
        pass
    assert isinstance(raised.value, DevicesBusyError)
    waiting = [record.message for record in caplog.records if record.name == leases.__name__]
    assert len(waiting) == 1, "said once, not each time it looks"
    assert waiting[0].startswith("Waiting for 1 of 1 GPUs")


def test_a_killed_process_lets_go_though_its_children_live(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(DevicesBusyError), lease(["0"], count=1, folder=tmp_path, patience_seconds=0):
        pass
    children = psutil.Process(holder.pid).children()
    holder.kill()
    with lease(["0"], count=1, folder=tmp_path, patience_seconds=30) as held:
        assert held == ["0"]
    assert [child.is_running() for child in children] == [True, True], "one was forked, one is another program"


def test_a_failure_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lease(["0"], count=1, folder=tmp_path, patience_seconds=0):
        _ = 1 / 0
    with lease(["0"], count=1, folder=tmp_path, patience_seconds=0):
        pass


def test_a_device_may_be_called_anything(tmp_path: Path) -> None:
    names = ["MIG-GPU-1/2/0", "MIG-GPU-1_2_0", "..", "/etc/x", "ä", "x" * 100]
    with lease(names, count=len(names), folder=tmp_path / "locks", patience_seconds=0) as held:
        assert held == names
    files = [path for path in tmp_path.rglob("*") if path.suffix == ".lock"]
    assert len(files) == len(names)
    assert {file.parent for file in files} == {tmp_path / "locks"}


@pytest.mark.parametrize(("devices", "count"), [(["0"], 2), (["0", "0"], 2), (["0"], 0), ([], 1)])
def test_more_devices_than_there_are_would_be_waited_for_in_vain(
    tmp_path: Path, devices: list[str], count: int
) -> None:
    started = time.monotonic()
    with (
        pytest.raises(ValueError, match="cannot be leased"),
        lease(devices, count=count, folder=tmp_path, patience_seconds=3600),
    ):
        pass
    assert time.monotonic() - started < 3600
