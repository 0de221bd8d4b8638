from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from include.episodes import snapshot
from include.episodes.schema import IN_HTML
from include.quality import profile
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import write_snapshot
from tests.include.quality import profiles

COUNTS = {"podcasts_read": 8, "episodes_read": 240, IN_HTML: 90}


def write(store: ArtifactStore, table: pa.Table, version: str = "v1") -> str:
    return write_snapshot(
        store, table, source_version=version, shards=3, counts=COUNTS, quarantined={"orphan": 40}
    ).snapshot_id


def replaced(table: pa.Table, column: str, values: list[Any]) -> pa.Table:
    field = table.schema.field(column)
    return table.set_column(table.column_names.index(column), field, pa.array(values, field.type))


def test_the_figures_are_those_of_the_whole_snapshot(store: ArtifactStore, episodes: pa.Table) -> None:
    """Over parts and batches; the texts are counted in characters."""
    table = replaced(episodes, "description", [*("é" * (n + 1) for n in range(150)), *[None] * 50])
    table = replaced(table, "content_hash", [f"{n // 2:024x}" for n in range(200)])
    table = replaced(table, "language", ["English"] * 120 + ["de"] * 50 + [None] * 30)

    found = profile.make(store, write(store, table))

    assert (found.episodes, found.shows, found.rows_read) == (200, 7, 248)
    assert found.languages == {"English": 120, "de": 50}
    assert (found.description_chars_median, found.description_chars_mean) == (75.5, 75.5)
    assert (found.repeated, found.markup) == (100, 90)
    assert found.newest_published_at == datetime(2017, 12, 1, tzinfo=UTC)
    assert found.quarantined == {"orphan": 40}
    assert found.nulls == {**dict.fromkeys(profile.NULLABLE, 0), "description": 50, "language": 30, "audio_url": 200}
    figures = found.figures()
    assert figures["language: English"] == 60.0
    assert figures["repeated texts"] == 50.0
    assert figures["in quarantine: orphan"] == pytest.approx(100 * 40 / 248)


def test_what_is_announced_for_the_future_is_not_the_newest_episode(store: ArtifactStore, episodes: pa.Table) -> None:
    """One mistaken date must not make every later catalogue look old."""
    soon = datetime.now(UTC) + timedelta(days=400)
    table = replaced(episodes, "published_at", [soon, None] + [datetime(2018, 1, 1, tzinfo=UTC)] * 198)

    assert profile.make(store, write(store, table)).newest_published_at == datetime(2018, 1, 1, tzinfo=UTC)


def test_what_names_no_language_is_other(store: ArtifactStore, episodes: pa.Table) -> None:
    table = replaced(episodes, "language", ["<b>bold</b>"] * 20 + ["http://example.org"] * 10 + ["English"] * 170)

    assert profile.make(store, write(store, table)).languages == {"English": 170, "other": 30}


def test_rare_languages_are_counted_together(store: ArtifactStore, episodes: pa.Table) -> None:
    table = replaced(episodes, "language", [f"Language {chr(65 + n % 40)}" for n in range(200)])

    found = profile.make(store, write(store, table)).languages

    assert len(found) == profile.LANGUAGES + 1
    assert found["other"] == 10 * 5
    assert sum(found.values()) == 200


def test_a_profile_is_recorded_and_what_was_accepted_once_stays_so(store: ArtifactStore, episodes: pa.Table) -> None:
    """Also when a source returns to this version later, and its snapshot is validated again."""
    key = snapshot.publish(store, write(store, episodes)).snapshot_id

    assert not profile.record(store, key, starts_history=False).starts_history
    accepted = profile.record(store, key, starts_history=True)
    assert profile.record(store, key, starts_history=False) == accepted
    assert profile.history(store, window=5) == [accepted]


def test_a_snapshot_without_episodes_has_a_profile(store: ArtifactStore, episodes: pa.Table) -> None:
    figures = profile.make(store, write(store, episodes.slice(0, 0))).figures()

    assert figures["episodes"] == 0
    assert "repeated texts" not in figures


def test_episodes_that_are_gone_are_told_by_their_ids(store: ArtifactStore, episodes: pa.Table) -> None:
    first = write(store, episodes)
    assert profile.withdrawn(store, first) is None, "nothing is published yet"

    snapshot.publish(store, first)
    renamed = replaced(episodes, "episode_id", [f"r{n}" if n < 50 else key for n, key in enumerate(ids(episodes))])

    assert profile.withdrawn(store, first) == 0
    assert profile.withdrawn(store, write(store, renamed, "v2")) == 25


def ids(table: pa.Table) -> list[str]:
    return table["episode_id"].to_pylist()  # type: ignore[no-any-return]


def publish(store: ArtifactStore, table: pa.Table, version: str, *, starts_history: bool = False) -> str:
    key = write(store, table, version)
    profiles.put_beside(store, key, version, starts_history=starts_history)
    return snapshot.publish(store, key).snapshot_id


def versions(found: list[profile.Profile]) -> list[str]:
    return [one.source_version for one in found]


def test_only_published_snapshots_are_history_the_last_of_them_first_to_count(
    store: ArtifactStore, episodes: pa.Table
) -> None:
    for version in ("v1", "v2", "v3"):
        publish(store, episodes, version)
    unpublished = write(store, episodes, "v4")
    profiles.put_beside(store, unpublished, "v4")

    assert versions(profile.history(store, window=9)) == ["v1", "v2", "v3"]
    assert versions(profile.history(store, window=2)) == ["v2", "v3"]


def test_a_snapshot_is_not_held_against_itself(store: ArtifactStore, episodes: pa.Table) -> None:
    """A source that returns to what it was has its snapshot from then; so has a validation that is done again."""
    first = publish(store, episodes, "v1")
    publish(store, episodes, "v2")
    publish(store, episodes, "v1")
    publish(store, episodes, "v1")

    assert [item.snapshot_id == first for item in snapshot.publications(store)] == [True, False, True]
    assert versions(profile.history(store, window=9, before=first)) == ["v2"]


def test_history_begins_where_a_person_accepted_that_the_catalogue_changed(
    store: ArtifactStore, episodes: pa.Table
) -> None:
    for version, starts in (("v1", True), ("v2", False), ("v3", True), ("v4", False)):
        publish(store, episodes, version, starts_history=starts)

    assert versions(profile.history(store, window=9)) == ["v3", "v4"]
    assert versions(profile.published(store, window=9)) == ["v1", "v2", "v3", "v4"], "the trend shows all of them"


def test_snapshots_that_are_gone_or_have_no_profile_are_passed_over(store: ArtifactStore, episodes: pa.Table) -> None:
    gone = publish(store, episodes, "v1")
    snapshot.publish(store, write(store, episodes, "v2"))
    publish(store, episodes, "v3")
    store.remove("snapshots", gone)

    assert versions(profile.history(store, window=9)) == ["v3"]
