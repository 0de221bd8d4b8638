"""How long a request waits for its turn, and that one whose answer would come too late is not worked on."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from include.search.http.capacity import LATELY, BusyError, Capacity

AGE = 10.0
"""Seconds that no test takes."""


def nothing() -> str:
    return "done"


async def took(capacity: Capacity, seconds: float, times: int = 3) -> None:
    """Let it do some work of such a length."""
    for _ in range(times):
        await capacity.run(lambda: time.sleep(seconds))


def test_who_comes_to_his_turn_too_late_is_turned_away_however_that_came() -> None:
    """The server's own thread is held up, and tells nobody in time that he has waited long enough."""
    capacity, free, worked_on = Capacity(1, 4, 0.2, AGE), threading.Event(), threading.Event()

    async def ask() -> None:
        first = asyncio.create_task(capacity.run(lambda: free.wait(AGE)))
        second = asyncio.create_task(capacity.run(worked_on.set))
        await asyncio.sleep(0.05)
        threading.Timer(0.4, free.set).start()
        time.sleep(0.8)
        assert await first
        with pytest.raises(BusyError):
            await second

    asyncio.run(ask())
    assert not worked_on.is_set()
    assert (capacity.busy, capacity.slow) == (1, 0)
    capacity.close()


def test_the_longer_work_takes_the_less_may_be_waited_for_it() -> None:
    capacity, free = Capacity(1, 4, 1.5, AGE), threading.Event()

    async def ask() -> float:
        await took(capacity, 1)
        first = asyncio.create_task(capacity.run(lambda: free.wait(AGE)))
        await asyncio.sleep(0)
        begun = time.monotonic()
        with pytest.raises(BusyError):
            await capacity.run(nothing)
        waited = time.monotonic() - begun
        free.set()
        assert await first
        return waited

    assert 0.1 <= asyncio.run(ask()) < 1.4, "not as long as patience, most of which its own work needs"
    capacity.close()


def test_who_need_not_wait_is_served_however_late_the_machine_lets_a_thread_begin() -> None:
    """Others have its cores: to ask again would help nobody."""
    capacity = Capacity(1, 4, 0.05, AGE)
    capacity._pool.submit(time.sleep, 0.3)
    assert asyncio.run(capacity.run(nothing)) == "done"
    capacity.close()


def test_who_need_not_wait_is_served_however_long_that_takes() -> None:
    """Else nobody would be any more, once work was slow for a while."""
    capacity = Capacity(1, 4, 0.05, AGE)

    async def ask() -> str:
        await took(capacity, 0.2)
        return await capacity.run(nothing)

    assert asyncio.run(ask()) == "done"
    capacity.close()


def test_what_was_slow_once_or_long_ago_is_no_measure() -> None:
    capacity = Capacity(1, 4, 0.3, AGE)

    async def ask() -> list[str]:
        await took(capacity, 0.5, times=2)
        together = await asyncio.gather(*[capacity.run(nothing) for _ in range(3)])
        await took(capacity, 0.5)
        await took(capacity, 0, times=LATELY)
        return together + await asyncio.gather(*[capacity.run(nothing) for _ in range(3)])

    assert asyncio.run(ask()) == ["done"] * 6
    capacity.close()
