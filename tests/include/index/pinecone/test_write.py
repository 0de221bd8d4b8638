"""Upserts under faults: all is written, or each record that is not is named."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest
from pinecone._internal.bulk import get_registry

from include.index.contract import Records
from include.index.pinecone import records as records_module
from include.index.pinecone.index import PineconeIndex
from include.index.pinecone.records import Request
from include.index.pinecone.write import UPSERTS_AT_ONCE, UpsertFailedError, UpsertRefusedError, Writer
from tests.include.index.contract import DIMENSION, metadata, random_vectors, records
from tests.standins.pinecone import Fault, PineconeStandIn

COUNT = 200
NAMES = [f"e{number:04d}" for number in range(COUNT)]
VALUES = random_vectors(COUNT)
BATCH = 10


@pytest.fixture(autouse=True)
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "REQUEST_RECORDS", BATCH)


@pytest.fixture
def index(index: PineconeIndex) -> PineconeIndex:
    index.create("ns", DIMENSION)
    return index


def assert_all_is_there(index: PineconeIndex) -> None:
    found = index.fetch("ns", NAMES)
    assert sorted(index.list_ids("ns")) == NAMES
    assert np.allclose(np.stack([found[name].values for name in NAMES]), VALUES, atol=1e-6)


def test_several_requests_are_on_their_way_at_a_time(index: PineconeIndex, standin: PineconeStandIn) -> None:
    standin.latency, standin.at_once = 0.2, 0
    assert index.upsert("ns", [records(NAMES, VALUES)]) == COUNT
    assert UPSERTS_AT_ONCE / 2 < standin.at_once <= UPSERTS_AT_ONCE
    assert standin.batches == [BATCH] * (COUNT // BATCH)
    standin.latency = 0
    assert_all_is_there(index)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([Fault("upsert", status=429, times=12, headers={"Retry-After": "0"})], id="busy, with a time"),
        pytest.param([Fault("upsert", status=429, times=12)], id="busy"),
        pytest.param([Fault("upsert", status=500, times=3), Fault("upsert", status=503, times=5)], id="broken"),
        pytest.param([Fault("upsert", hang_up=True, times=6)], id="hangs up"),
        pytest.param([Fault("upsert", hang_up=True, done=True, times=6)], id="hangs up after the write"),
        pytest.param([Fault("upsert", status=500, part=4, times=6)], id="writes a part"),
        pytest.param([Fault("upsert", stall=1.5, times=2)], id="slow"),
        pytest.param([Fault("upsert", status=503, after=15, times=9)], id="breaks in the middle"),
    ],
)
def test_what_passes_is_waited_out(index: PineconeIndex, standin: PineconeStandIn, faults: list[Fault]) -> None:
    standin.faults += [Fault(**vars(fault)) for fault in faults]
    assert index.upsert("ns", [records(NAMES, VALUES)]) == COUNT
    assert standin.faults == []
    assert_all_is_there(index)


@pytest.mark.parametrize("headers", [{"Retry-After": "0"}, {}])
def test_busy_servers_get_fewer_requests_at_a_time(
    index: PineconeIndex, standin: PineconeStandIn, headers: dict[str, str]
) -> None:
    standin.latency = 0.05
    standin.faults.append(Fault("upsert", status=429, times=16, headers=headers))
    index.upsert("ns", [records(NAMES[:160], VALUES[:160])])
    standin.at_once = 0
    index.upsert("ns", [records(NAMES, VALUES)])
    assert standin.at_once <= 0.75 * UPSERTS_AT_ONCE, "half, and one more for each round that went well"


def test_what_stays_names_every_record_that_is_not_written(
    index: PineconeIndex, standin: PineconeStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """What was on its way is ended, and no more is sent: what failed is in the error, and the first of it in the
    message; the log has all."""
    standin.faults.append(Fault("upsert", status=503, after=5, times=10_000, message="away"))
    with pytest.raises(
        UpsertFailedError, match=r"^\d+ of \d+ records that were sent are not written: e\d+, .* and \d+ more\. .*away"
    ) as raised:
        index.upsert("ns", [records(NAMES, VALUES)])
    standin.faults.clear()
    get_registry()._reset()  # as in the process of a task's next try
    written = set(index.list_ids("ns"))
    assert len(written) == 5 * BATCH
    assert written.isdisjoint(raised.value.ids)
    sent = len(written) + len(raised.value.ids)
    assert str(raised.value).startswith(f"{len(raised.value.ids)} of {sent} records")
    assert written | set(raised.value.ids) == set(NAMES[:sent]), "each that was sent is written or named"
    assert all(key in caplog.text for key in raised.value.ids)
    assert index.upsert("ns", [records(NAMES, VALUES)]) == COUNT
    assert_all_is_there(index)


def test_the_reason_is_what_pinecone_said_and_not_that_the_client_held_back(
    index: PineconeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine, a request may be held back at each attempt, for all others fail."""

    def fail(writer: Writer, request: Request) -> None:
        ids = list(request.items)
        said = NAMES[30] in ids
        raise UpsertFailedError("away" if said else "held back", ids, answered=said)

    monkeypatch.setattr(Writer, "_write", fail)
    with pytest.raises(UpsertFailedError, match=r"not written: .*\. away"):
        index.upsert("ns", [records(NAMES[:100], VALUES[:100])])


def test_a_record_that_is_refused_fails_at_once(index: PineconeIndex, standin: PineconeStandIn) -> None:
    """Nothing mends it, so that it is not tried again; its whole request is named, for Pinecone does not say more."""
    values = VALUES.copy()
    values[57] = 0
    with pytest.raises(UpsertRefusedError, match=r"^10 of \d+ records .* not written.*non-zero") as raised:
        index.upsert("ns", [records(NAMES, values)])
    assert raised.value.ids == NAMES[50:60]
    assert len(standin.batches) < COUNT // BATCH
    assert standin.count("upsert") == len(set(index.list_ids("ns"))) // BATCH + 1, "and what was on its way is written"


def test_a_refused_key_fails_at_once(index: PineconeIndex, standin: PineconeStandIn) -> None:
    standin.faults.append(Fault("upsert", status=401, times=10_000))
    with pytest.raises(UpsertRefusedError, match="refuses the API key") as raised:
        index.upsert("ns", [records(NAMES, VALUES)])
    assert sorted(raised.value.ids) == NAMES[: standin.count("upsert") * BATCH]


def test_a_long_wait_that_pinecone_asks_for_is_left_to_the_task(index: PineconeIndex, standin: PineconeStandIn) -> None:
    """A worker does not sleep for ten minutes: the error says when to come back."""
    standin.faults.append(Fault("upsert", status=429, times=10_000, headers={"Retry-After": "3"}))
    with pytest.raises(UpsertFailedError) as raised:
        index.upsert("ns", [records(NAMES[:5], VALUES[:5])])
    assert raised.value.seconds == 3
    assert raised.value.ids == NAMES[:5]


def test_memory_is_bounded(index: PineconeIndex, standin: PineconeStandIn) -> None:
    """Batches are taken as they are written, and not all before the first request."""
    taken: list[int] = []

    def batches() -> Iterator[Records]:
        for number in range(COUNT):
            taken.append(sum(standin.batches))
            yield records(NAMES[number : number + 1], VALUES[number : number + 1])

    assert index.upsert("ns", batches()) == COUNT
    ahead = max(number - written for number, written in enumerate(taken))
    assert ahead <= (UPSERTS_AT_ONCE + 1) * BATCH


def test_no_two_requests_with_one_id_are_on_their_way(index: PineconeIndex, standin: PineconeStandIn) -> None:
    """Else the earlier could arrive last, and would stay."""
    standin.faults.append(Fault("upsert", stall=0.3))
    first, second = VALUES[:BATCH], VALUES[BATCH : 2 * BATCH]
    assert index.upsert("ns", [records(NAMES[:BATCH], first), records(NAMES[:BATCH], second)]) == 2 * BATCH
    found = index.fetch("ns", NAMES[:BATCH])
    assert np.allclose(np.stack([found[name].values for name in NAMES[:BATCH]]), second, atol=1e-6)


def test_a_change_of_metadata_alone_is_waited_for(index: PineconeIndex, standin: PineconeStandIn) -> None:
    index.upsert("ns", [records(NAMES, VALUES)])
    standin.lag = 0.2
    index.upsert("ns", [records(NAMES, VALUES, title="Edited")])
    assert {hit.metadata.title for hit in index.search_vectors("ns", VALUES[:1], COUNT)[0]} == {"Edited"}


def test_a_batch_that_cannot_be_made_waits_for_what_was_sent(index: PineconeIndex, standin: PineconeStandIn) -> None:
    """The caller's error is the caller's; no thread writes on behind its back."""
    standin.latency = 0.05

    def batches() -> Iterator[Records]:
        yield records(NAMES[:50], VALUES[:50])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        index.upsert("ns", batches())
    assert sum(standin.batches) == len(list(index.list_ids("ns")))


def test_metadata_that_is_too_long_is_written_cut(index: PineconeIndex, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    long = metadata(title="ü" * 50_000, show_title="\x01" * 50_000)
    index.upsert("ns", [Records(["a"], VALUES[:1], [long])])
    (hits,) = index.search_vectors("ns", VALUES[:1], 1, {"title": long.title})
    assert hits[0].metadata.title == "ü" * 512
