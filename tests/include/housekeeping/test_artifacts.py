"""What is removed from the artifact store, and above all what is not."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from include.episodes import snapshot
from include.episodes.going_back import go_back
from include.episodes.sources.feeds import state as feed_state
from include.episodes.sources.feeds.addresses import Feed
from include.errors import PermanentError
from include.housekeeping import artifacts
from include.housekeeping.artifacts import Days, prune
from include.housekeeping.needs import PUBLICATIONS
from include.housekeeping.summary import Summary
from include.index import live_page, watched
from include.index.lancedb import LanceIndex
from include.index.live import require_live
from include.index.plan import plan_reindex, read_journal
from include.index.retire_models import retire_models
from include.index.rollback import plan_rollback, roll_back
from include.quality import pages, profile, trend
from include.retriever.composition import COMPOSITION
from include.retriever.encode import EmbeddingCache, shard_part
from include.storage import MANIFEST, ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.workshop import Fuse, Killed, MortalStore, content, embedding, register, reindex

DAYS = Days(work=30, reports=300)
ROWS = [episode(number) for number in range(6)]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def index(installation: tuple[Path, list[str]]) -> LanceIndex:
    """The installation's own: a journal names the index that its namespace is in."""
    return LanceIndex(str(installation[0] / "index"))


def publish_one(store: ArtifactStore, number: int) -> str:
    """A catalogue that no other is like, with its profile."""
    rows = [*ROWS[1:], episode(0, description=f"As it was on day {number}")]
    made = publish(store, rows, source=f"v{number}").snapshot_id
    profile.record(store, made, starts_history=False)
    return made


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A home, and the eight snapshots that were published in it: m1 was live on the third, and m2 is on the fifth."""
    home = tmp_path_factory.mktemp("installation")
    store, index = ArtifactStore(home / "artifacts"), LanceIndex(str(home / "index"))
    for age, version in ((2, "base"), (1, "m1"), (0, "m2")):
        register(store, version, age=age)
    published = []
    for number in range(8):
        published.append(publish_one(store, number))
        if number in (1, 2):
            reindex(store, index, "m1")
        if number in (3, 4):
            reindex(store, index, "m2")
    return home, published


@pytest.fixture
def snapshots(tmp_path: Path, installation: tuple[Path, list[str]]) -> list[str]:
    """The snapshots of the installation; ``store`` is a copy of its artifacts."""
    home, published = installation
    shutil.copytree(home / "artifacts", tmp_path / "artifacts")
    return published


def prune_after(store: ArtifactStore, days: float, *, dry_run: bool = False) -> Summary:
    """Prune as if what is there now had been written so many days ago."""
    return prune(store, DAYS, dry_run=dry_run, now=datetime.now(UTC) + timedelta(days=days))


def whole(store: ArtifactStore, published: list[str]) -> list[int]:
    return [number for number, key in enumerate(published) if snapshot.exists(store, key)]


def paths(store: ArtifactStore) -> set[tuple[str, ...]]:
    return {file.path for file in store.files()}


def test_snapshots_go_once_they_are_old_and_nothing_needs_them(store: ArtifactStore, snapshots: list[str]) -> None:
    """2 is what m1's namespace holds, 4 what m2's does, and to the last three one can always go back."""
    assert "snapshots" not in prune_after(store, 29).kinds
    assert prune_after(store, 31).kinds["snapshots"].items == 3
    assert whole(store, snapshots) == [2, 4, *range(8 - PUBLICATIONS, 8)]
    assert prune_after(store, 3_000).kinds == {}, "what is left is needed"


def test_the_next_runs_do_not_notice(store: ArtifactStore, index: LanceIndex, snapshots: list[str]) -> None:
    prune_after(store, 3_000)
    plan = plan_reindex(store, model_version="m2", live=require_live(store))
    assert (plan.action, plan.changed) == ("difference", 1), "a full build means that a snapshot is missing"
    rollback = plan_rollback(store, lambda pointer: index)
    assert roll_back(store, rollback, lambda pointer: index).model_version == "m1"
    assert go_back(store, snapshots[5], seen=snapshot.latest_entry(store)).snapshot_id == snapshots[5]
    assert reindex(store, index, "m1").changed == 1
    assert len(content(index)) == len(ROWS)


def test_drift_and_the_trend_see_what_they_saw(store: ArtifactStore, snapshots: list[str]) -> None:
    before = profile.published(store, window=trend.WINDOW)
    assert len(before) == 8
    prune_after(store, 3_000)
    assert profile.published(store, window=trend.WINDOW) == before
    assert pages.catalogue_trend(store).count(snapshots[0]) > 0
    assert snapshots[0] not in pages.latest_runs(store), "whose quarantine cannot be looked at any more"


def test_a_profile_goes_when_nothing_is_drawn_of_it(
    store: ArtifactStore, snapshots: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trend, "WINDOW", 3)
    prune_after(store, 3_000)
    there = [number for number, key in enumerate(snapshots) if profile.load(store, key)]
    assert there == [*range(2, 8)], "five are compared with, beside the one that is held against them"
    assert set(store.names("snapshots")) == {*snapshots[2:], snapshot.LATEST}


def test_before_anything_is_live_nothing_is_removed(store: ArtifactStore) -> None:
    for number in range(8):
        publish_one(store, number)
    before = paths(store)
    assert prune_after(store, 3_000).kinds == {}
    assert paths(store) == before


def test_a_damaged_pointer_stops_everything(store: ArtifactStore, snapshots: list[str]) -> None:
    store.write_bytes(b"{", "live.json")
    before = paths(store)
    with pytest.raises(PermanentError):
        prune_after(store, 3_000)
    assert paths(store) == before


def test_a_dry_run_says_the_same_and_removes_nothing(store: ArtifactStore, snapshots: list[str]) -> None:
    store.write_bytes(b"12345", "training", "t1", "pairs.parquet")
    before = paths(store)
    would = prune_after(store, 3_000, dry_run=True)
    assert paths(store) == before
    assert would.kinds["trainings"].bytes == 5
    assert prune_after(store, 3_000).kinds == would.kinds


def test_a_removal_that_was_killed_anywhere_is_finished_by_the_next(store: ArtifactStore, snapshots: list[str]) -> None:
    """Nothing that is left looks whole and is not."""
    moments = 0
    for moment in range(100):
        try:
            prune_after(MortalStore(str(store.path()), Fuse(moment)), 3_000)
        except Killed:
            moments += 1
            for key in store.names("snapshots"):
                if key != snapshot.LATEST and snapshot.exists(store, key):
                    snapshot.read(store, key)
            continue
        break
    assert moments >= 5
    assert whole(store, snapshots) == [2, 4, 5, 6, 7]
    assert prune_after(store, 3_000).kinds == {}


def test_what_is_written_to_meanwhile_stays(
    store: ArtifactStore, snapshots: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that begins just then writes its plan into the folder of an old one that was the same."""
    remove = artifacts._remove

    def touch_first(store: ArtifactStore, artifact: artifacts.Artifact) -> bool:
        store.write_bytes(b"now", *artifact.path, "again.json")
        return remove(store, artifact)

    monkeypatch.setattr(artifacts, "_remove", touch_first)
    assert prune_after(store, 3_000).kinds == {}
    assert whole(store, snapshots) == list(range(8))


def test_trainings_and_embeddings_stay_as_long_as_their_model(
    store: ArtifactStore, index: LanceIndex, snapshots: list[str]
) -> None:
    register(store, "old", age=9)
    base = store.read_json("models", "base", MANIFEST)
    store.write_json(base | {"kind": "base"}, "models", "base", MANIFEST)
    for version in ("old", "m2"):
        manifest = store.read_json("models", version, MANIFEST)
        store.write_json(manifest | {"training_id": f"t-{version}"}, "models", version, MANIFEST)
        store.write_bytes(b"pairs", "training", f"t-{version}", "pairs.parquet")
        key = ROWS[1]["content_hash"]
        EmbeddingCache(store, version, shard_part(0)).add([key], embedding(key)[None])
        store.write_json({}, "decisions", f"{version}--m1.json")
    store.write_bytes(b"pairs", "training", "never-finished", "pairs.parquet")
    store.write_bytes(b"weights", "models", "never-registered", "model.safetensors")
    store.write_json({"version": "base"}, "models", "base-0123.json")
    prune_after(store, 3_000)
    assert store.names("training") == ["t-m2", "t-old"]
    assert store.names("models") == ["base", "base-0123.json", "m1", "m2", "old"]
    assert retire_models(store, index, keep=1) == ["old"]
    prune_after(store, 3_000)
    assert store.names("training") == ["t-m2"]
    assert store.names("embeddings") == ["m1", "m2"]
    assert store.names("decisions") == ["m2--m1.json"]


def test_vectors_of_an_earlier_composition_go(store: ArtifactStore, snapshots: list[str]) -> None:
    """No release reads them any more."""
    store.write_bytes(b"vectors", "embeddings", "m2", "composition1", "shard-0000", "a.parquet")
    prune_after(store, 3_000)
    assert store.names("embeddings", "m2") == [f"composition{COMPOSITION}"]


def test_the_newest_evaluation_of_two_models_tells_them_apart_for_ever(
    store: ArtifactStore, snapshots: list[str]
) -> None:
    for name, versions in {"e1": ["m1", "m2"], "e2": ["m1", "m2"], "e3": ["m2"], "e4": ["m2", "gone"]}.items():
        store.write_json({}, "evaluations", name, MANIFEST)
        for version in versions:
            store.write_json({}, "evaluations", name, version, MANIFEST)
        store.write_json({}, "comparisons", name, "comparison.json")
    prune_after(store, 3_000)
    assert store.names("evaluations") == ["e2", "e4"], "e2 has both; e4 is the newest"
    assert store.names("comparisons") == ["e4"]


def test_the_plan_that_may_write_to_a_namespace_stays(store: ArtifactStore, snapshots: list[str]) -> None:
    owners = {read_journal(store, name.removesuffix(".json")).plan_id for name in store.names("namespaces")}
    assert len(store.names("reindex")) > len(owners)
    prune_after(store, 3_000)
    assert owners <= set(store.names("reindex"))
    assert len(store.names("reindex")) <= len(owners) + 1


def test_people_keep_what_the_pages_lead_to(store: ArtifactStore, snapshots: list[str]) -> None:
    pointer = store.read_json("live.json")
    store.write_json(pointer | {"report": "reports/shown/index.html"}, "live.json")
    for name in ("shown", "old"):
        store.write_bytes(b"<html>", "reports", name, "index.html")
    for number in range(pages.RUNS + 5):
        store.write_json({}, "quality", f"20260101T0000{number:02d}.v1", "drift.json")
    for number in range(live_page.DAYS + 5):
        store.write_json({"looks": []}, *watched.FOLDER, f"{date(2026, 1, 1) + timedelta(days=number)}.json")
    store.write_json({}, "search", "canaries.json")
    assert set(prune_after(store, 299).kinds) <= {"snapshots", "plans of re-indexes"}
    prune_after(store, 301)
    assert store.names("reports") == ["shown"]
    assert len(store.names("quality")) == pages.RUNS
    assert len(store.names("live")) > 1
    assert len(store.names(*watched.FOLDER)) == live_page.DAYS
    assert store.exists("search", "canaries.json")


def test_old_downloads_go_but_for_the_last(store: ArtifactStore, snapshots: list[str]) -> None:
    for number in ("1", "2"):
        store.write_bytes(b"zip", "downloads", "kaggle", "somebody", "episodes", number, "episodes.csv")
        store.write_bytes(b"csv", "downloads", "feeds", f"v{number}", "episodes.csv")
    prune_after(store, 31)
    assert store.names("downloads", "kaggle", "somebody", "episodes") == ["2"]
    assert store.names("downloads", "feeds") == ["v2"]


FEEDS = [Feed(letter * 32, f"https://{letter}.example/feed") for letter in "abc"]
SHOW = feed_state.Catalogue(show={"title": "A show"}, episodes={"e": {"title": "One"}})


def poll_feeds(store: ArtifactStore, *listed: Feed, day: float) -> None:
    """What a poll leaves of feeds, of which none has anything new."""
    feed_state.note_unlisted(store, listed, datetime.now(UTC) + timedelta(days=day))
    for feed in listed:
        known = feed_state.load(store, feed)
        feed_state.read_catalogue(store, known)
        if not known.catalogue:
            feed_state.save_catalogue(store, known, SHOW)
    store.write_json({}, "feeds", "report.json")


def test_feeds_that_were_taken_off_the_list_long_ago_go(store: ArtifactStore, snapshots: list[str]) -> None:
    """However long ago they have said something new; one that is listed may be silent for years."""
    a, b, c = FEEDS
    poll_feeds(store, a, b, c, day=0)
    poll_feeds(store, a, b, day=100)
    poll_feeds(store, a, day=110)
    assert "feeds taken off the list" not in prune_after(store, 129).kinds
    assert prune_after(store, 131).kinds["feeds taken off the list"].items == 1
    assert store.names("feeds") == [a.feed_id, b.feed_id, "report.json", "unlisted.json"]
    poll_feeds(store, a, b, day=132)
    prune_after(store, 3_000)
    assert store.names("feeds") == [a.feed_id, b.feed_id, "report.json", "unlisted.json"]


def test_a_feed_whose_removal_was_killed_can_come_back(store: ArtifactStore, snapshots: list[str]) -> None:
    prune_after(store, 32)  # what else is old, and would be removed first
    a, b, _ = FEEDS
    poll_feeds(store, a, b, day=0)
    poll_feeds(store, a, day=1)
    left = set()
    for moment in range(100):
        try:
            prune_after(MortalStore(str(store.path()), Fuse(moment)), 32)
        except Killed:
            left.add(tuple(name == feed_state.STATE for name in store.names("feeds", b.feed_id)))
            poll_feeds(store, a, b, day=2)  # which reads what is known of it
            poll_feeds(store, a, day=1)
            continue
        break
    assert left - {()} == {(False, True), (False,)}, "a state without the episodes that it names would fail every poll"
    assert b.feed_id not in store.names("feeds")


def test_what_a_killed_writer_left_goes_after_a_day(store: ArtifactStore, snapshots: list[str]) -> None:
    lost = store.write_bytes(b"half", "snapshots", snapshots[-1], f".part-0000.parquet.{'0' * 32}")
    store.write_bytes(b"", "snapshots", ".latest.json.lock")
    prune_after(store, 3)
    assert lost.exists()
    os.utime(Path(str(lost)), (0, 0))
    prune_after(store, 3)
    assert not lost.exists()
    assert store.exists("snapshots", ".latest.json.lock"), "who writes the latest snapshot asks for it"


def test_the_same_in_every_kind_of_store(any_store: ArtifactStore) -> None:
    first = publish_one(any_store, 0)
    others = [publish_one(any_store, number) for number in range(1, 5)]
    pointer = {"backend": "lancedb", "index": "index", "namespace": "m1", "model_version": "m1"}
    activated = {"snapshot_id": others[-1], "activated_at": "2026-01-01T00:00:00Z"}
    any_store.write_json(pointer | activated, "live.json")
    any_store.write_bytes(b"pairs", "training", "given-up", "pairs.parquet")
    would = prune_after(any_store, 31, dry_run=True)
    assert {name: removed.items for name, removed in would.kinds.items()} == {"snapshots": 2, "trainings": 1}
    assert prune_after(any_store, 31) == would.model_copy(update={"dry_run": False})
    assert not snapshot.exists(any_store, first)
    assert profile.load(any_store, first)
    assert any_store.names("training") == []
    assert prune_after(any_store, 31).kinds == {}
