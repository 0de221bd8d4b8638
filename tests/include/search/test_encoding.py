"""Many who ask at a time: each query is encoded once, and together with those that came meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from include.retriever.encoders.contract import TextKind, Vectors
from include.search.encoding import Encoded, QueryEncoder
from include.search.flights import Flights


class SlowEncoder:
    """Encodes a text as its length, once it is let go on."""

    tokens = 0

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.begun = threading.Semaphore(0)
        self.goes_on = threading.Event()
        self.failure: Exception | None = None

    def encode(self, texts: Sequence[str], *, batch_size: int = 0, kind: TextKind = "document") -> Vectors:
        assert kind == "query"
        self.asked.append(list(texts))
        self.begun.release()
        assert self.goes_on.wait(30)
        if self.failure:
            raise self.failure
        return np.array([[len(text)] for text in texts], np.float32)


@pytest.fixture
def slow() -> SlowEncoder:
    return SlowEncoder()


def wait_for(encoder: QueryEncoder, coming: int) -> None:
    """Until so many queries are waited for."""
    while len(encoder._coming) < coming:
        threading.Event().wait(0.001)


def test_what_comes_while_one_is_encoded_is_encoded_together_and_each_once(slow: SlowEncoder) -> None:
    encoded = Encoded()
    encoder = QueryEncoder(slow, encoded)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(encoder.encode, ["a"])
        assert slow.begun.acquire(timeout=30)
        others = [pool.submit(encoder.encode, texts) for texts in (["bb"], ["ccc"], ["bb"], ["a", "dddd"])]
        wait_for(encoder, 4)
        slow.goes_on.set()
        assert first.result(30).tolist() == [[1]]
        assert [one.result(30).tolist() for one in others] == [[[2]], [[3]], [[2]], [[1], [4]]]
    assert slow.asked[0] == ["a"]
    assert sorted(text for batch in slow.asked for text in batch) == ["a", "bb", "ccc", "dddd"]
    assert len(slow.asked) == 2
    assert encoded.batches == {1: 1, 3: 1}


def test_what_was_asked_lately_is_not_encoded_again(slow: SlowEncoder) -> None:
    slow.goes_on.set()
    encoded = Encoded()
    encoder = QueryEncoder(slow, encoded, remembered=2)
    for query in ("a", "bb", "a", "ccc", "a", "bb"):
        assert encoder.encode([query]).tolist() == [[len(query)]]
    assert slow.asked == [["a"], ["bb"], ["ccc"], ["bb"]], "bb was asked for longest ago"
    assert encoded.remembered == 2


def test_a_failure_is_told_to_all_it_concerns_and_is_not_remembered(slow: SlowEncoder) -> None:
    encoder = QueryEncoder(slow, Encoded())
    slow.failure = MemoryError("no memory")
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(encoder.encode, ["a"]) for _ in range(2)]
        slow.goes_on.set()
        for one in asked:
            with pytest.raises(MemoryError):
                one.result(30)
    slow.failure = None
    assert encoder.encode(["a"]).tolist() == [[1]]


def test_the_same_work_at_the_same_time_is_done_once() -> None:
    flights: Flights[int] = Flights()
    done: list[int] = []
    begun, goes_on = threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        assert goes_on.wait(30)
        done.append(1)
        return len(done)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(flights.run, "name", work)
        assert begun.wait(30)
        others = [pool.submit(flights.run, "name", lambda: pytest.fail("done twice")) for _ in range(2)]
        assert flights.run("another", lambda: 7) == 7
        goes_on.set()
        assert [one.result(30) for one in (first, *others)] == [1, 1, 1]
    assert flights.run("name", work) == 2, "nothing is kept"


def test_work_that_fails_fails_for_all_and_is_done_anew() -> None:
    flights: Flights[int] = Flights()
    with pytest.raises(ZeroDivisionError):
        flights.run("name", lambda: 1 // 0)
    assert flights.run("name", lambda: 1) == 1
