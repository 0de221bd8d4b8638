"""How much is at work at a time. Beyond that a request is turned away soon: if it waited, all would be late."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
LATELY = 64
"""How many of the last requests tell how long the next one will take."""
RARER = 2
"""How many of them took longer than what is expected: one that had to open a model says nothing about the next."""
SHARE = 0.25
"""Share of the patience that a request may wait in any case: if nobody waited, threads would run out of work, and those
who are turned away would ask again all the sooner."""


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

    Under lasting load, every request that is answered has waited as long as it may: the time that ``patience`` leaves
    if its own work takes as long as that of others lately, but at least a quarter of it. A request is turned away as
    soon as it has waited that long, or at its turn, if the server was too busy to notice. One that finds a free thread
    does not wait, and is not turned away, however late the machine lets the thread begin.

    :param at_work: requests that are worked on at a time.
    :param waiting: requests that may wait for that.
    :param patience: seconds after which a request that had to wait should be done.
    :param seconds: how long a request may take, its wait included.
    """

    def __init__(self, at_work: int, waiting: int, patience: float, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(at_work, thread_name_prefix="search")
        self._places = threading.BoundedSemaphore(at_work + waiting)
        self._patience = patience
        self._seconds = seconds
        self._inside: set[Future[Any]] = set()
        self._at_work = at_work
        self._took: deque[float] = deque(maxlen=LATELY)
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
        came, waits = time.monotonic(), len(self._inside) >= self._at_work

        def at_its_turn() -> T:
            begun = time.monotonic()
            if waits and begun - came > self._may_wait():
                raise BusyError
            try:
                return work()
            finally:
                self._took.append(time.monotonic() - begun)

        future = self._pool.submit(at_its_turn)
        self._inside.add(future)
        future.add_done_callback(self._left)
        answer = asyncio.wrap_future(future)
        try:
            done: set[asyncio.Future[T]] = set()
            if waits:
                done, _ = await asyncio.wait([answer], timeout=self._may_wait())
                if not done and future.cancel():  # it has not begun
                    raise BusyError
            if not done:
                done, _ = await asyncio.wait([answer], timeout=came + self._seconds - time.monotonic())
            if done:
                return answer.result()
        except BusyError:
            self.busy += 1
            raise
        finally:
            future.cancel()  # what still waits need not be done any more
        self.slow += 1
        raise TooSlowError(self._seconds)

    def _may_wait(self) -> float:
        """Seconds that a request may wait for its turn."""
        lately = sorted(self._took)
        if len(lately) <= RARER:
            return self._patience
        return max(self._patience * SHARE, self._patience - lately[-1 - RARER])

    def _left(self, future: Future[Any]) -> None:
        self._inside.discard(future)
        self._places.release()

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
