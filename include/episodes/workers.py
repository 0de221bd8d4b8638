"""Processes that share the work of cleaning, each holding one object whose methods are called from outside.

They are plain child processes that take calls from their standard input and answer on their standard output: nothing of
the parent is forked into them (its threads, locks and connections), a parent that may have no ``multiprocessing``
children (a worker of Celery) can start them, and they end with their input, even when the parent was killed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pyarrow as pa

PROJECT = Path(__file__).resolve().parents[2]
CALLS = 2
"""Calls that a process has at a time: while it answers one, the next comes through the pipe."""
AHEAD = 2
"""Jobs made ready for each process beyond those."""
ENVIRONMENT = {
    # The processes share the cores already.
    "POLARS_MAX_THREADS": "1",
    # To give memory back between two jobs, and take it again, costs more than all that the system does otherwise.
    "MIMALLOC_PURGE_DELAY": "-1",
}
"""What libraries look up in a process when they are imported."""
PIPE_BYTES = 2**20
"""What a pipe holds, so that a job can be sent to a process that is still at work on another."""


class WorkerError(RuntimeError):
    """A worker process ended before its work was done: the machine ran out of memory, usually."""


class Workers:
    """Several processes with an object each, or this process with one.

    :param factory: makes the object; a function or class that can be imported.
    :param arguments: what it is called with; a keyword ``number`` (0, 1, …) is added to tell them apart.
    :param count: how many; 1 starts no process and does the work here.
    """

    def __init__(self, factory: Callable[..., Any], arguments: dict[str, Any], *, count: int) -> None:
        self._local = factory(**arguments, number=0) if count == 1 else None
        self._processes: list[_Process] = []
        self._threads: ThreadPoolExecutor | None = None
        if count > 1:
            self._processes = [_Process() for _ in range(count)]
            for number, process in enumerate(self._processes):
                process.send((factory, {**arguments, "number": number}))
            self._free: queue.SimpleQueue[_Process] = queue.SimpleQueue()
            for process in self._processes * CALLS:
                self._free.put(process)
            self._threads = ThreadPoolExecutor(CALLS * count, thread_name_prefix="worker")

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close(kill=error is not None)

    def close(self, *, kill: bool = False) -> None:
        """End the processes; at once if ``kill``, else when they have nothing left to do."""
        for process in self._processes:
            process.end(kill=kill)
        for process in self._processes:
            process.wait()
        if self._threads:
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._processes = []

    def map(self, method: str, jobs: Iterable[tuple[Any, ...]]) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """Call a method once a job, on whichever process is free; each job with its result, in the order of the jobs.

        Only a few jobs are taken ahead of the results, so memory does not grow with their number.
        """
        if self._threads is None:
            yield from ((job, getattr(self._local, method)(*job)) for job in jobs)
            return
        waiting: deque[tuple[tuple[Any, ...], Future[Any]]] = deque()
        for job in jobs:
            waiting.append((job, self._threads.submit(self._call, method, job)))
            if len(waiting) >= (CALLS + AHEAD) * len(self._processes):
                job, future = waiting.popleft()
                yield job, future.result()
        while waiting:
            job, future = waiting.popleft()
            yield job, future.result()

    def broadcast(self, method: str) -> list[Any]:
        """Call a method of each object once; their results."""
        if self._threads is None:
            return [getattr(self._local, method)()]
        futures = [self._threads.submit(process.call, method, ()) for process in self._processes]
        return [future.result() for future in futures]

    def _call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        process = self._free.get()
        try:
            return process.call(method, arguments)
        finally:
            self._free.put(process)


class _Process:
    """One child process, seen from the parent."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "include.episodes.workers"],
            cwd=PROJECT,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pipesize=PIPE_BYTES,
        )
        self._sending, self._receiving = threading.Lock(), threading.Lock()

    def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        with self._sending:
            self.send((method, arguments))
            self._receiving.acquire()  # before another call is sent: answers come in the order of the calls
        try:
            assert self._child.stdout is not None
            done, value = pickle.load(self._child.stdout)  # noqa: S301
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._ended() from error
        finally:
            self._receiving.release()
        if not done:
            raise value
        return value

    def send(self, message: Any) -> None:
        assert self._child.stdin is not None
        try:
            pickle.dump(message, self._child.stdin, protocol=5)
            self._child.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def end(self, *, kill: bool) -> None:
        if kill:
            self._child.kill()
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()

    def wait(self) -> None:
        self._child.wait()
        if self._child.stdout:
            self._child.stdout.close()

    def _ended(self) -> WorkerError:
        code = self._child.wait()
        return WorkerError(
            f"A process that cleans episodes ended with exit status {code} before its work was done: if the machine "
            "has run out of memory, set PODSEARCH_THREADS to 1."
        )


def _serve(calls: IO[bytes], answers: IO[bytes]) -> None:
    """Answer calls until their stream ends."""
    factory, arguments = pickle.load(calls)  # noqa: S301
    held = factory(**arguments)
    while True:
        try:
            method, values = pickle.load(calls)  # noqa: S301
        except EOFError:
            return
        try:
            answer = (True, getattr(held, method)(*values))
        except Exception as error:
            error.add_note("In a worker process:\n" + traceback.format_exc())
            answer = (False, error)
        pickle.dump(answer, answers, protocol=5)
        answers.flush()


def main() -> None:
    """Run as a worker; what libraries print goes to standard error, not between the answers."""
    pa.set_cpu_count(1)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        _serve(sys.stdin.buffer, answers)
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)  # the parent is gone, or is being stopped and says why
    os._exit(0)  # all answers are given; to take the process's memory apart would take half a second


if __name__ == "__main__":
    main()
