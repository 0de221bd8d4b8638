"""Worker processes: results come in order, failures are told, and no process stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from include.episodes.workers import PROJECT, WorkerError, Workers


class Counter:
    """What the workers of these tests hold."""

    def __init__(self, start: int, number: int) -> None:
        self.calls, self.number = start, number

    def square(self, value: int) -> int:
        self.calls += 1
        time.sleep(0.01 if value % 3 == 0 else 0)
        if value == 13:
            raise ValueError("thirteen")
        return value * value

    def chatter(self) -> None:
        print("not an answer")

    def die(self) -> None:
        os._exit(9)

    def held(self) -> tuple[int, int, int]:
        return self.number, self.calls, os.getpid()


@pytest.fixture(params=[1, 2])
def workers(request: pytest.FixtureRequest) -> Iterator[Workers]:
    with Workers(Counter, {"start": 100}, count=request.param) as some:
        yield some


def test_results_come_in_the_order_of_the_jobs(workers: Workers) -> None:
    jobs = [(value,) for value in range(12)]
    assert list(workers.map("square", jobs)) == [((value,), value * value) for value in range(12)]


def test_each_holds_its_own_object(workers: Workers) -> None:
    assert len(list(workers.map("square", [(value,) for value in range(12)]))) == 12
    held = workers.broadcast("held")
    assert [number for number, _, _ in held] == list(range(len(held)))
    assert sum(calls - 100 for _, calls, _ in held) == 12
    assert (os.getpid() in {pid for _, _, pid in held}) == (len(held) == 1)


def test_an_error_comes_back_as_it_was(workers: Workers) -> None:
    with pytest.raises(ValueError, match="thirteen"):
        list(workers.map("square", [(value,) for value in range(20)]))


def test_jobs_are_not_taken_far_ahead() -> None:
    taken = []

    def jobs() -> Iterator[tuple[int]]:
        for value in range(100):
            taken.append(value)
            yield (value,)

    with Workers(Counter, {"start": 0}, count=2) as workers:
        next(iter(workers.map("square", jobs())))
        assert len(taken) < 10


def test_what_is_printed_does_not_get_among_the_answers() -> None:
    with Workers(Counter, {"start": 0}, count=2) as workers:
        assert workers.broadcast("chatter") == [None, None]
        assert len(workers.broadcast("held")) == 2


def test_a_process_that_dies_is_reported_with_what_to_do() -> None:
    with (
        Workers(Counter, {"start": 0}, count=2) as workers,
        pytest.raises(WorkerError, match=r"exit status 9 .* PODSEARCH_THREADS"),
    ):
        workers.broadcast("die")


def test_none_is_left_when_the_work_is_broken_off() -> None:
    def broken_off() -> None:
        with Workers(Counter, {"start": 0}, count=2) as workers:
            pids.extend(pid for _, _, pid in workers.broadcast("held"))
            raise KeyboardInterrupt

    pids: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_none_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    """SIGKILL, as the kernel does when memory is out: nothing of the parent can run any more."""
    code = (
        "import time\n"
        "from include.episodes.workers import Workers\n"
        f"from {__name__} import Counter\n"
        "workers = Workers(Counter, {'start': 0}, count=2)\n"
        "print(*[pid for _, _, pid in workers.broadcast('held')], flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code]
    parent = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert psutil.wait_procs(children, timeout=20)[1] == []
