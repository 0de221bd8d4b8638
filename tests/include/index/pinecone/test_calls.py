from __future__ import annotations

import threading
import time

import pytest
from pinecone.errors import (
    ApiError,
    ForbiddenError,
    PineconeConnectionError,
    PineconeError,
    PineconeTimeoutError,
    PineconeValueError,
    RateLimitError,
    ServiceError,
    UnauthorizedError,
)

from include.errors import PermanentError, RetryLaterError
from include.index.pinecone.calls import Patience, PineconeRequests

QUICK = Patience(attempts=3, first_wait=0.001, longest_wait=0.01, poll=0.001)


@pytest.fixture
def caller() -> PineconeRequests:
    return PineconeRequests(QUICK, "secret-key")


@pytest.mark.parametrize(
    "error",
    [
        ServiceError("down", 503),
        RateLimitError("busy", 429),
        ApiError("slow", 408),
        PineconeTimeoutError("timed out"),
        PineconeConnectionError("refused"),
        PineconeError("held back"),
    ],
)
def test_what_passes_is_tried_so_many_times(caller: PineconeRequests, error: PineconeError) -> None:
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise error

    with pytest.raises(RetryLaterError, match="Pinecone, listing: "):
        caller.call("listing", fail)
    assert len(tries) == QUICK.attempts


@pytest.mark.parametrize(
    "error",
    [ApiError("bad", 400), UnauthorizedError("no", 401), ForbiddenError("no", 403), PineconeValueError("bad")],
)
def test_what_stays_is_not_tried_again(caller: PineconeRequests, error: PineconeError) -> None:
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise error

    with pytest.raises(PermanentError):
        caller.call("listing", fail)
    assert len(tries) == 1


def test_an_error_of_ours_is_left_as_it_is(caller: PineconeRequests) -> None:
    with pytest.raises(ZeroDivisionError):
        caller.call("dividing", lambda: 1 / 0)


def test_the_time_that_pinecone_names_is_waited(caller: PineconeRequests) -> None:
    answers = iter([RateLimitError("busy", 429, retry_after=0.01), None])

    def ask() -> str:
        error = next(answers)
        if error:
            raise error
        return "done"

    started = time.monotonic()
    assert caller.call("asking", ask) == "done"
    assert time.monotonic() - started >= 0.01


def test_a_longer_one_is_left_to_the_task(caller: PineconeRequests) -> None:
    def ask() -> None:
        raise RateLimitError("busy", 429, retry_after=600)

    with pytest.raises(RetryLaterError) as raised:
        caller.call("asking", ask)
    assert raised.value.seconds == 600


def test_no_message_shows_the_key(caller: PineconeRequests) -> None:
    def ask() -> None:
        raise ApiError("what is secret-key?", 400)

    with pytest.raises(PermanentError, match=r"what is \*\*\*\?") as raised:
        caller.call("asking", ask)
    assert raised.value.__context__ is None


def test_waits_grow_up_to_a_limit_and_differ() -> None:
    patience = Patience(attempts=8, first_wait=1, longest_wait=10)
    waits = list(patience.waits())
    assert len(waits) == 7
    for wait, most in zip(waits, [1, 2, 4, 8, 10, 10, 10], strict=True):
        assert most / 2 <= wait <= most
    assert waits != list(patience.waits())


def test_many_are_asked_at_once_and_answered_in_order(caller: PineconeRequests) -> None:
    now, most, lock = [0], [0], threading.Lock()

    def ask(number: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01 * (number % 3))
        with lock:
            now[0] -= 1
        return -number

    assert caller.each(ask, list(range(40)), at_once=5) == [-number for number in range(40)]
    assert most[0] == 5
    assert caller.each(ask, [], at_once=5) == []


def test_the_first_failure_ends_the_rest(caller: PineconeRequests) -> None:
    asked: list[int] = []

    def ask(number: int) -> int:
        asked.append(number)
        time.sleep(0.001)
        return 1 // number

    with pytest.raises(ZeroDivisionError):
        caller.each(ask, list(range(1_000)), at_once=2)
    assert len(asked) < 100


def test_a_look_has_its_limit(caller: PineconeRequests) -> None:
    answers = iter([False, False, True])
    assert caller.until(lambda: next(answers), limit=10)
    assert not caller.until(lambda: False, limit=0.02)
