"""Activations that meet: one wins, the other is told or goes after it, and no change is lost; on each kind of store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from include.errors import OvertakenError, PermanentError
from include.index.live import FILE, LivePointer, activate, live_entry, read_live, require_live
from include.storage import ArtifactStore
from tests.standins.s3 import Fault, S3StandIn


@pytest.fixture
def store(any_store: ArtifactStore) -> ArtifactStore:
    return any_store


def flip(store: ArtifactStore, name: str, seen: str | None = None) -> LivePointer:
    return activate(
        store,
        backend="lancedb",
        index="here",
        namespace=name,
        model_version=name,
        snapshot_id="s1",
        metrics={},
        report=None,
        seen=seen,
    )


def test_of_runs_that_activate_at_once_one_wins_and_the_others_are_told(store: ArtifactStore) -> None:
    seen = live_entry(flip(store, "m0"))

    def run(name: str) -> str:
        try:
            return flip(store, name, seen=seen).namespace
        except OvertakenError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(run, ["m1", "m2", "m3", "m4"]))
    live = require_live(store)
    told = f"When its run started, {seen} was live; now {live.entry} is. Search continues with that."
    assert sorted(ended) == sorted([live.namespace, told, told, told])
    assert live.previous is not None
    assert live.previous.namespace == "m0"


def test_what_went_live_while_an_activation_was_decided_is_not_lost(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = flip(store, "m1")
    decide_before = LivePointer.before
    others = ["m2"]

    def before(self: LivePointer) -> LivePointer:
        if others:
            flip(store, others.pop())
        return decide_before(self)

    monkeypatch.setattr(LivePointer, "before", before)
    with pytest.raises(OvertakenError, match="m2 on snapshot s1"):
        flip(store, "m3", seen=live_entry(first))
    assert require_live(store).namespace == "m2"
    others.append("m4")
    last = flip(store, "m5")
    assert last == read_live(store)
    assert last.previous is not None
    assert last.previous.namespace == "m4", "one can go back to what was live for a moment"


def test_an_activation_whose_answer_was_lost_is_no_change_of_anybody_elses(
    s3: S3StandIn, s3_store: ArtifactStore
) -> None:
    for name in ("m1", "m2"):
        s3.faults = [Fault(f"PUT .*{FILE}", times=1, lose_answer=True)]
        live = flip(s3_store, name, seen=live_entry(read_live(s3_store)))
        assert (live, live.namespace) == (read_live(s3_store), name)
    assert live.previous is not None
    assert live.previous.namespace == "m1"


def test_a_damaged_pointer_is_named_and_left_to_a_person(store: ArtifactStore) -> None:
    store.write_bytes(b'{"backend": "lan', FILE)
    with pytest.raises(PermanentError, match=r"live\.json is damaged .* trigger reindex_episodes"):
        flip(store, "m1")
    assert store.read_bytes(FILE) == b'{"backend": "lan'
