"""How far search is behind, told from what was published and what is live."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.alerts.state import lag_of_index
from include.episodes import snapshot
from include.index.live import LivePointer
from include.storage import ArtifactStore
from tests.include.alerts.faults import START
from tests.include.index.workshop import write_live


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def publish(store: ArtifactStore, *snapshot_ids: str) -> None:
    """Snapshots published a day after each other."""
    past = [
        {"snapshot_id": key, "published_at": (START + timedelta(days=day)).isoformat()}
        for day, key in enumerate(snapshot_ids)
    ]
    store.write_json({"snapshot_id": snapshot_ids[-1], "publications": past}, snapshot.FOLDER, snapshot.LATEST)


def go_live(store: ArtifactStore, snapshot_id: str, *, day: float = 0) -> None:
    pointer = LivePointer(
        backend="lancedb",
        index="index",
        namespace="model",
        model_version="model",
        snapshot_id=snapshot_id,
        activated_at=START + timedelta(days=day),
    )
    write_live(store, pointer)


def test_nothing_published_is_no_lag(store: ArtifactStore) -> None:
    assert lag_of_index(store) is None


def test_what_was_never_live_is_behind_from_the_first_publication(store: ArtifactStore) -> None:
    publish(store, "s1", "s2")
    lag = lag_of_index(store)
    assert lag is not None
    assert (lag.live, [item.snapshot_id for item in lag.missed], lag.since) == (None, ["s1", "s2"], START)


@pytest.mark.parametrize(
    ("published", "live", "missed"),
    [
        (["s1"], "s1", []),
        (["s1", "s2", "s3"], "s1", ["s2", "s3"]),
        (["s1", "s2", "s1"], "s1", []),
        (["s1", "s2", "s1"], "s2", ["s1"]),
        (["s5", "s6"], "s1", ["s5", "s6"]),
    ],
)
def test_behind_is_what_was_published_after_what_is_live(
    store: ArtifactStore, published: list[str], live: str, missed: list[str]
) -> None:
    publish(store, *published)
    go_live(store, live)
    lag = lag_of_index(store)
    assert ([item.snapshot_id for item in lag.missed] if lag else []) == missed
    if lag:
        assert lag.since == START + timedelta(days=len(published) - len(missed))


def test_what_a_person_went_back_to_is_behind_from_then_on(store: ArtifactStore) -> None:
    publish(store, "s1", "s2")
    go_live(store, "s1", day=30)
    lag = lag_of_index(store)
    assert lag is not None
    assert lag.since == datetime(2026, 3, 31, 2, tzinfo=UTC)
