"""Upserts under faults: all is written, or each record that is not is named."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from pinecone._internal.bulk import get_registry

from include.index.contract import Records
from include.index.pinecone import records as records_module
from include.index.pinecone.index import PineconeIndex
from include.index.pinecone.write import UPSERTS_AT_ONCE, UpsertFailedError, UpsertRefusedError
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
    assert np.allclose(np.stack([found[name] for name in NAMES]), VALUES, atol=1e-6)


def test_several_requests_are_on_their_way_at_a_time(index: PineconeIndex, standin: PineconeStandIn) -> None:
    standin.latency, standin.at_once = 0.05, 0
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


def test_busy_servers_get_fewer_requests_at_a_time(index: PineconeIndex, standin: PineconeStandIn) -> None:
    standin.latency = 0.02
    standin.faults.append(Fault("upsert", status=429, times=16, headers={"Retry-After": "0"}))
    index.upsert("ns", [records(NAMES, VALUES)])
    standin.at_once = 0
    index.upsert("ns", [records(NAMES[:60], VALUES[:60])])
    assert standin.at_once < UPSERTS_AT_ONCE


def test_what_stays_names_every_record_that_is_not_written(
    index: PineconeIndex, standin: PineconeStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest is written; what failed is in the error, in the log, and the first of it in the message."""
    standin.faults.append(Fault("upsert", status=503, after=5, times=10_000, message="away"))
    with pytest.raises(
        UpsertFailedError, match=r"^\d+ of 200 records are not written: e\d+, .* and \d+ more\. .*away"
    ) as raised:
        index.upsert("ns", [records(NAMES, VALUES)])
    standin.faults.clear()
    get_registry()._reset()  # as in the process of a task's next try
    assert set(raised.value.ids) | set(index.list_ids("ns")) == set(NAMES)
    assert all(key in caplog.text for key in raised.value.ids)
    assert index.upsert("ns", [records(NAMES, VALUES)]) == COUNT
    assert_all_is_there(index)


def test_a_record_that_is_refused_fails_at_once(index: PineconeIndex, standin: PineconeStandIn) -> None:
    """Nothing mends it, so that it is not tried again; its whole request is named, for Pinecone does not say more."""
    values = VALUES.copy()
    values[57] = 0
    with pytest.raises(UpsertRefusedError, match=r"^10 of 200 records are not written.*non-zero") as raised:
        index.upsert("ns", [records(NAMES, values)])
    assert raised.value.ids == NAMES[50:60]
    assert len(standin.batches) <= COUNT // BATCH


def test_a_refused_key_fails_at_once(index: PineconeIndex, standin: PineconeStandIn) -> None:
    standin.faults.append(Fault("upsert", status=401, times=10_000))
    with pytest.raises(UpsertRefusedError, match="refuses the API key") as raised:
        index.upsert("ns", [records(NAMES, VALUES)])
    assert raised.value.ids == NAMES


def test_a_long_wait_that_pinecone_asks_for_is_left_to_the_task(index: PineconeIndex, standin: PineconeStandIn) -> None:
    """A worker does not sleep for ten minutes: the error says when to come back."""
    standin.faults.append(Fault("upsert", status=429, times=10_000, headers={"Retry-After": "3"}))
    with pytest.raises(UpsertFailedError) as raised:
        index.upsert("ns", [records(NAMES[:5], VALUES[:5])])
    assert raised.value.seconds == 3
    assert raised.value.ids == NAMES[:5]


def test_memory_is_bounded_by_windows(
    index: PineconeIndex, standin: PineconeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are taken as they are written, and not all before the first request."""
    monkeypatch.setattr("include.index.pinecone.index.windows", lambda batches: records_module.windows(batches, size=1))
    taken: list[int] = []

    def batches() -> object:
        for number in range(4):
            taken.append(len(standin.batches))
            part = slice(number * 50, number * 50 + 50)
            yield records(NAMES[part], VALUES[part])

    assert index.upsert("ns", batches()) == COUNT  # type: ignore[arg-type]
    assert taken == [0, 5, 10, 15]


def test_metadata_that_is_too_long_is_written_cut(index: PineconeIndex, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    long = metadata(title="ü" * 50_000, show_title="\x01" * 50_000)
    index.upsert("ns", [Records(["a"], VALUES[:1], [long])])
    (hits,) = index.query("ns", VALUES[:1], 1, {"title": long.title})
    assert hits[0].metadata.title == "ü" * 512
