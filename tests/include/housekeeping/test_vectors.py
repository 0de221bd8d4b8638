"""Vectors of texts that are gone are removed, and above all no others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.episodes import snapshot
from include.episodes.schema import content_hash
from include.evaluation import run
from include.evaluation.queries import QuerySet
from include.housekeeping import vectors
from include.housekeeping.artifacts import Days, prune
from include.housekeeping.needs import PUBLICATIONS, Needs
from include.housekeeping.summary import Removed, Summary
from include.index.lancedb import LanceIndex
from include.index.live import require_live
from include.index.plan import forget, plan_reindex
from include.retriever import encode
from include.retriever.encode import EmbeddingCache, shard_part
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import Row, episode, publish
from tests.include.index.workshop import MODEL, Fuse, Killed, MortalStore, embed, embedding, register, reindex

EPISODES = 24
EDITED = 16
"""Of them, two in three of each file."""


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def index(tmp_path: Path) -> LanceIndex:
    return LanceIndex(str(tmp_path / "index"))


def rows(edited: int, day: int = 0) -> list[Row]:
    """The catalogue on some day, the first of whose episodes read otherwise than at first."""
    return [
        episode(number, podcast_id="p00", **({"description": f"As it was on day {day}"} if number < edited else {}))
        for number in range(EPISODES)
    ]


def publish_after(store: ArtifactStore, index: LanceIndex, edited: int) -> None:
    """A catalogue that was indexed, and its editions until nobody goes back to it."""
    register(store, MODEL)
    for day in range(PUBLICATIONS + 1):
        publish(store, rows(edited if day else 0, 1), source=f"v{day}", shards=1)
        if day in (0, PUBLICATIONS):
            reindex(store, index)


def prune_after(store: ArtifactStore, days: float, *, dry_run: bool = False) -> Removed:
    """Prune as if what is there now had been written so many days ago; the vectors that went."""
    now = datetime.now(UTC) + timedelta(days=days)
    return prune(store, Days(work=30, reports=300), dry_run=dry_run, now=now).kinds.get(vectors.KIND, Removed())


def cached(store: ArtifactStore) -> list[str]:
    """The texts that have a vector, as often as they have one."""
    return sorted(key for file in encode.cached(store, MODEL) for key in encode.cached_texts(store, file).to_pylist())


def published(store: ArtifactStore) -> set[str]:
    latest = snapshot.latest(store)
    assert latest
    return set(snapshot.read(store, latest.snapshot_id, columns=["content_hash"])["content_hash"].to_pylist())


def test_vectors_of_edited_texts_go_once_they_are_old_and_most_of_their_file(
    store: ArtifactStore, index: LanceIndex
) -> None:
    publish_after(store, index, EDITED)
    assert len(cached(store)) == EPISODES + EDITED
    before = cached(store)
    assert prune_after(store, 29) == Removed()
    would = prune_after(store, 31, dry_run=True)
    assert cached(store) == before
    assert prune_after(store, 31) == would
    assert (would.items, would.bytes > 0) == (1, True)
    assert cached(store) == sorted(published(store))
    assert prune_after(store, 3_000) == Removed(), "what is left is needed"


def test_the_vectors_that_stay_are_the_same_and_nothing_is_embedded_again(
    store: ArtifactStore, index: LanceIndex
) -> None:
    publish_after(store, index, EDITED)
    prune_after(store, 31)
    cache = EmbeddingCache(store, MODEL, shard_part(0))
    for key in published(store):
        assert (cache.vectors([key]) == embedding(key)).all()
    publish(store, rows(EDITED + 1, 1), source="later", shards=1)
    assert reindex(store, index).changed == 1, "the vectors of the others are compared"
    forget(store, require_live(store).namespace)
    plan = plan_reindex(store, model_version=MODEL, live=None)
    assert (plan.action, embed(store, plan)) == ("full", [])


def test_half_may_be_gone(store: ArtifactStore, index: LanceIndex) -> None:
    publish_after(store, index, EPISODES // 2)
    assert prune_after(store, 3_000) == Removed()
    assert len(cached(store)) == 1.5 * EPISODES


def test_a_file_all_of_whose_texts_are_gone_goes(store: ArtifactStore, index: LanceIndex) -> None:
    publish_after(store, index, EPISODES)
    [first, second] = [file.bytes for file in encode.cached(store, MODEL)]
    assert prune_after(store, 31).bytes in (first, second)
    assert cached(store) == sorted(published(store))


def test_what_can_be_gone_back_to_keeps_its_vectors(store: ArtifactStore, index: LanceIndex) -> None:
    """The last three that were published, and what a namespace holds, though later ones have none of its texts."""
    register(store, MODEL)
    publish(store, rows(0), source="v0", shards=1)
    reindex(store, index)
    for day in range(1, PUBLICATIONS + 2):
        publish(store, rows(EPISODES, day), source=f"v{day}", shards=1)
        embed(store, plan_reindex(store, model_version=MODEL, live=require_live(store)))
    assert len(cached(store)) == (PUBLICATIONS + 2) * EPISODES
    assert prune_after(store, 31).items == 1, "of day 1"
    assert len(cached(store)) == (PUBLICATIONS + 1) * EPISODES
    assert {content_hash(row["text"]) for row in rows(0)} <= set(cached(store)), "search answers from these"


def test_a_removal_that_was_killed_anywhere_is_finished_by_the_next(store: ArtifactStore, index: LanceIndex) -> None:
    publish_after(store, index, EDITED)
    needed = published(store)
    for moment in range(100):
        try:
            prune_after(MortalStore(str(store.path()), Fuse(moment)), 31)
        except Killed:
            assert needed <= set(cached(store)), f"after {moment} writes"
            continue
        break
    assert moment >= 2
    assert cached(store) == sorted(needed)


def test_what_test_queries_must_find_stays(store: ArtifactStore, index: LanceIndex) -> None:
    """These texts are those of no episode: the words of the query are removed from them."""
    publish_after(store, index, EDITED)
    positives = ["We talk about", "sleep at night"]
    tested = QuerySet("test", ["sleep", "soup"], [["e0001"], ["e0002"]], ["title", "title"], positives)
    store.write_table(run._queries_table([tested]), run.FOLDER, "e1", run.QUERIES_FILE)
    store.write_json({}, run.FOLDER, "e1", "manifest.json")
    held_out = EmbeddingCache(store, MODEL, "held-out")
    for text in (*positives, "of an evaluation that is gone"):
        key = content_hash(text)
        held_out.add([key], embedding(key)[None])
    assert prune_after(store, 31).items == 2
    assert held_out.missing({content_hash(text) for text in positives}) == set()
    assert held_out.missing({content_hash("of an evaluation that is gone")})


def test_nothing_goes_once_a_run_has_begun_that_may_need_it(
    store: ArtifactStore, index: LanceIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source has the first edition again, just when the caches are looked at."""
    publish_after(store, index, EDITED)
    needs, read = Needs(store), encode.cached_texts
    assert len(needs.texts) == EPISODES

    def publish_first(*arguments: Any) -> pa.ChunkedArray:
        publish(store, rows(0), source="again", shards=1)
        return read(*arguments)

    monkeypatch.setattr(encode, "cached_texts", publish_first)
    vectors.compact(store, needs, Summary(dry_run=False), before=datetime.now(UTC) + timedelta(days=1))
    monkeypatch.undo()
    assert embed(store, plan_reindex(store, model_version=MODEL, live=require_live(store))) == []


def test_a_file_that_a_task_merges_meanwhile_is_left_to_it(
    store: ArtifactStore, index: LanceIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_after(store, index, EDITED)
    [*files] = encode.cached(store, MODEL)
    for file in files:
        store.remove(*file.path)
    monkeypatch.setattr(encode, "cached", lambda *_: files)
    assert prune_after(store, 31) == Removed()


def test_the_same_in_every_kind_of_store(any_store: ArtifactStore, index: LanceIndex) -> None:
    publish_after(any_store, index, EDITED)
    assert prune_after(any_store, 31).items == 1
    assert cached(any_store) == sorted(published(any_store))
