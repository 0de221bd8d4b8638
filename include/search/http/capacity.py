"""How much is at work at a time. Beyond that a request is turned away soon: if it waited, all would be late."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class BusyError(RuntimeError):
    """More is asked for than can be answered soon."""

    def __init__(self) -> None:
        super().__init__("Too many searches at once. Try again in a moment.")


class TooSlowError(RuntimeError):
    """A request was not answered in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"There was no answer within {seconds:g} seconds. Try again in a moment.")


class Capacity:
    """Threads for what computes or waits for an index, and a queue before them that does not grow without end.

    :param at_work: requests that are worked on at a time.
    :param waiting: requests that may wait for that.
    :param patience: seconds that a request may wait. Under a load that lasts, those that are answered have all waited
        so long: it bounds how long an answer takes.
    :param seconds: how long a request may take, its wait included.
    """

    def __init__(self, at_work: int, waiting: int, patience: float, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(at_work, thread_name_prefix="search")
        self._places = threading.BoundedSemaphore(at_work + waiting)
        self._patience = patience
        self._seconds = seconds
        self._inside: set[Future[Any]] = set()
        self.busy = 0
        """Requests that found no place, or waited too long for their turn."""
        self.slow = 0
        """Requests that were not done in time."""

    @property
    def at_work(self) -> int:
        """Requests that are worked on."""
        return sum(one.running() for one in list(self._inside))

    @property
    def waiting(self) -> int:
        """Requests that wait for that."""
        return len(self._inside) - self.at_work

    async def run(self, work: Callable[[], T]) -> T:
        """What some work returns, done in one of the threads.

        A thread cannot be stopped: work that takes too long keeps its place until it ends.

        :raises BusyError: there is no place left, or its turn does not come in time.
        :raises TooSlowError: it was not done in time.
        """
        if not self._places.acquire(blocking=False):
            self.busy += 1
            raise BusyError
        future = self._pool.submit(work)
        self._inside.add(future)
        future.add_done_callback(self._left)
        answer = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait([answer], timeout=self._patience)
            if not done and future.cancel():  # it has not begun
                self.busy += 1
                raise BusyError
            if not done:
                done, _ = await asyncio.wait([answer], timeout=self._seconds - self._patience)
        finally:
            future.cancel()  # what still waits need not be done any more
        if not done:
            self.slow += 1
            raise TooSlowError(self._seconds)
        return answer.result()

    def _left(self, future: Future[Any]) -> None:
        self._inside.discard(future)
        self._places.release()

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
