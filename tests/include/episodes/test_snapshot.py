from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.episodes import snapshot
from include.episodes.difference import Difference, difference
from include.episodes.schema import EPISODES, QUARANTINE, shard_of
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import Row, episode, publish, table, write_snapshot

ROWS = [episode(number) for number in range(60)]
NO_DIFFERENCE: dict[str, Any] = {"added": [], "changed": [], "reembedded": [], "removed": []}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def write(store: ArtifactStore, episodes: pa.Table, **options: Any) -> snapshot.Manifest:
    values: dict[str, Any] = {"source_version": "v1", "shards": 3, "counts": {}, "quarantined": {}} | options
    return write_snapshot(store, episodes, **values)


def changes(store: ArtifactStore, before: list[Row], after: list[Row], *, shards: int = 3) -> dict[str, Any]:
    """What differs, as lists of ids."""
    first = write(store, table(before))
    second = write(store, table(after), shards=shards)
    return lists(difference(store, first.snapshot_id, second.snapshot_id))


def lists(found: Difference) -> dict[str, Any]:
    return {name: value if isinstance(value, int) else value.to_list() for name, value in vars(found).items()}


class TestWrite:
    def test_the_name_follows_from_the_content_whatever_its_order_and_chunks(self, tmp_path: Path) -> None:
        shuffled = random.Random(1).sample(ROWS, len(ROWS))
        orders = [
            table(ROWS),
            table(shuffled),
            pa.concat_tables([table(shuffled[:7]), table([]), table(shuffled[7:])]),
            table(ROWS).select(EPISODES.names[::-1]).select(EPISODES.names),
            pa.Table.from_pandas(table(ROWS).to_pandas(), schema=EPISODES, preserve_index=False),
        ]
        names = {write(ArtifactStore(tmp_path / str(n)), one).snapshot_id for n, one in enumerate(orders)}
        assert len(names) == 1

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param({"episodes": table([*ROWS[1:], episode(0, duration_seconds=1)])}, id="a value"),
            pytest.param({"episodes": table(ROWS[1:])}, id="one episode less"),
            pytest.param({"source_version": "v2"}, id="the source"),
            pytest.param({"shards": 4}, id="the number of shards"),
        ],
    )
    def test_the_name_changes_with_what_went_in(self, store: ArtifactStore, other: dict[str, Any]) -> None:
        same = write(store, table(ROWS)).snapshot_id
        values = {"episodes": table(ROWS), **other}
        assert write(store, values.pop("episodes"), **values).snapshot_id != same

    def test_what_was_written_is_read_back_shard_by_shard(self, store: ArtifactStore) -> None:
        manifest = write(store, table(ROWS[::-1]))
        assert (manifest.episodes, manifest.shows, manifest.shards) == (60, 12, 3)
        assert snapshot.read(store, manifest.snapshot_id).sort_by("episode_id").equals(table(ROWS))
        for part in manifest.parts:
            own = snapshot.read(store, manifest.snapshot_id, shards=[part.shard], columns=["episode_id", "podcast_id"])
            assert own.column_names == ["episode_id", "podcast_id"]
            assert len(own) == part.rows
            assert {shard_of(key, 3) for key in own["podcast_id"].to_pylist()} <= {part.shard}
            assert own["episode_id"].to_pylist() == sorted(own["episode_id"].to_pylist())

    def test_a_stream_has_what_a_table_has_a_few_rows_at_a_time(
        self, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(snapshot, "GROUP_ROWS", 7)
        key = write(store, table(ROWS)).snapshot_id
        whole = snapshot.read(store, key)

        assert max(len(batch) for batch in snapshot.reader(store, key)) <= 7
        assert snapshot.reader(store, key).read_all().equals(whole)
        columns = ["published_at", "episode_id"]
        assert snapshot.reader(store, key, columns=columns).read_all().equals(whole.select(columns))
        empty = write(store, table([])).snapshot_id
        assert snapshot.reader(store, empty).read_all().equals(table([]))

    def test_a_show_is_in_one_shard_in_every_snapshot(self, store: ArtifactStore) -> None:
        first, second = write(store, table(ROWS[:40])), write(store, table(ROWS[20:]))
        for shard in range(3):
            shows = [
                set(snapshot.read(store, one.snapshot_id, shards=[shard])["podcast_id"].to_pylist())
                for one in (first, second)
            ]
            assert shows[0] == shows[1]

    def test_writing_again_changes_nothing(self, store: ArtifactStore) -> None:
        first = write(store, table(ROWS), counts={"episodes": 60})
        assert write(store, table(ROWS), counts={"episodes": 61}) == first

    def test_an_unfinished_one_is_finished_by_writing_again(self, store: ArtifactStore) -> None:
        manifest = write(store, table(ROWS))
        store.remove(snapshot.FOLDER, manifest.snapshot_id, "manifest.json")
        store.remove(snapshot.FOLDER, manifest.snapshot_id, manifest.parts[1].file)
        assert not snapshot.exists(store, manifest.snapshot_id)
        with pytest.raises(FileNotFoundError):
            snapshot.load(store, manifest.snapshot_id)
        with pytest.raises(FileNotFoundError):
            snapshot.publish(store, manifest.snapshot_id)
        assert write(store, table(ROWS)).snapshot_id == manifest.snapshot_id
        assert len(snapshot.read(store, manifest.snapshot_id)) == 60

    def test_the_catalogue_may_be_empty(self, store: ArtifactStore) -> None:
        manifest = write(store, table([]))
        assert (manifest.episodes, manifest.shows, len(manifest.parts)) == (0, 0, 3)
        assert snapshot.read(store, manifest.snapshot_id).schema == EPISODES

    def test_two_episodes_of_one_id_are_refused(self, store: ArtifactStore) -> None:
        with pytest.raises(ValueError, match="share an episode_id"):
            write(store, table([episode(1), episode(1, title="Another")]))
        assert store.names(snapshot.FOLDER) == []

    def test_required_fields_are_held_to(self, store: ArtifactStore) -> None:
        broken = table(ROWS[:2]).set_column(2, pa.field("title", pa.string()), pa.array(["Title", None]))
        with pytest.raises(ValueError, match="title"):
            write(store, broken)

    def test_the_quarantine_is_kept_beside_the_parts(self, store: ArtifactStore) -> None:
        row = {"file": "episodes.csv", "row": 3, "key": "e1", "reason": "no title", "detail": None, "raw": "…"}
        quarantine = pa.Table.from_pylist([row], schema=QUARANTINE)
        manifest = write(store, table(ROWS), quarantine=quarantine, quarantined={"no title": 1})
        assert snapshot.read_quarantine(store, manifest.snapshot_id).to_pylist() == [row]
        assert len(snapshot.read(store, manifest.snapshot_id)) == 60


class TestPublish:
    def test_before_the_first_there_is_none(self, store: ArtifactStore) -> None:
        write(store, table(ROWS))
        assert snapshot.latest(store) is None

    def test_the_latest_is_the_one_published_last(self, store: ArtifactStore) -> None:
        first = publish(store, ROWS)
        second = write(store, table(ROWS[:50]))
        assert second.previous == first.snapshot_id
        assert snapshot.latest(store) == first
        snapshot.publish(store, second.snapshot_id)
        assert snapshot.latest(store) == second
        snapshot.publish(store, first.snapshot_id)
        assert snapshot.latest(store) == first, "going back is publishing again"

    def test_one_that_was_never_finished_cannot_be_published(self, store: ArtifactStore) -> None:
        first = publish(store, ROWS)
        with pytest.raises(FileNotFoundError):
            snapshot.publish(store, "0123456789ab")
        assert snapshot.latest(store) == first

    def test_an_object_store_will_do(self, tmp_path: Path) -> None:
        store = ArtifactStore(f"memory://{tmp_path.name}")
        first, second = publish(store, ROWS), publish(store, ROWS[1:])
        assert snapshot.latest(store) == second
        assert difference(store, first.snapshot_id, second.snapshot_id).removed.to_list() == ["e0000"]
        store.remove()


class TestDifference:
    """Only what the index holds of an episode counts."""

    @pytest.mark.parametrize(
        ("change", "changed", "reembedded"),
        [
            pytest.param({"title": "Another"}, True, True, id="title"),
            pytest.param({"description": "Another"}, True, True, id="description"),
            pytest.param({"show_description": None}, True, True, id="show description withdrawn"),
            pytest.param({"language": "French"}, True, False, id="language"),
            pytest.param({"language": None}, True, False, id="language withdrawn"),
            pytest.param({"published_at": None}, True, False, id="date withdrawn"),
            pytest.param({"published_at": datetime(2018, 1, 1, tzinfo=UTC)}, True, False, id="date"),
            pytest.param({"title": "EPISODE 1", "text": episode(1)["text"]}, True, False, id="only the shown title"),
            pytest.param({"duration_seconds": 7}, True, False, id="duration"),
            pytest.param({"audio_url": "https://x"}, True, False, id="audio"),
            pytest.param({"categories": "News"}, True, False, id="categories"),
            pytest.param({"podcast_id": "p09"}, True, False, id="moved to a show of the same name"),
        ],
    )
    def test_an_edit(self, store: ArtifactStore, change: Row, changed: bool, reembedded: bool) -> None:
        edited = episode(1, **change)
        if change.get("text"):
            edited["content_hash"] = ROWS[1]["content_hash"]
        assert changes(store, ROWS, [ROWS[0], edited, *ROWS[2:]]) == {
            "added": [],
            "changed": ["e0001"] * changed,
            "reembedded": ["e0001"] * reembedded,
            "removed": [],
            "unchanged": 60 - changed,
        }

    def test_a_date_and_a_language_that_are_found_later(self, store: ArtifactStore) -> None:
        before = [episode(number, published_at=None, language=None) for number in range(4)]
        after = [*before[:2], episode(2, published_at=None, language="Thai"), episode(3, language=None)]
        assert changes(store, before, after)["changed"] == ["e0002", "e0003"]

    def test_everything_at_once(self, store: ArtifactStore) -> None:
        after = [*ROWS[5:20], episode(20, title="Edited"), episode(21, language="Thai"), *ROWS[22:], episode(99)]
        found = changes(store, ROWS, after)
        assert found == {
            "added": ["e0099"],
            "changed": ["e0020", "e0021"],
            "reembedded": ["e0020"],
            "removed": [f"e{number:04d}" for number in range(5)],
            "unchanged": 53,
        }

    def test_nulls_are_equal(self, store: ArtifactStore) -> None:
        rows = [episode(number, language=None, published_at=None) for number in range(3)]
        assert changes(store, rows, rows[::-1], shards=2) == NO_DIFFERENCE | {"unchanged": 3}

    def test_another_number_of_shards_is_no_difference(self, store: ArtifactStore) -> None:
        assert changes(store, ROWS, ROWS, shards=8) == NO_DIFFERENCE | {"unchanged": 60}
        assert changes(store, ROWS, [*ROWS[1:], episode(70)], shards=1)["added"] == ["e0070"]

    def test_episodes_that_come_to_another_shard_are_neither_added_nor_removed(self, store: ArtifactStore) -> None:
        """Shards are compared one by one; here every show has a new id, and so most episodes another shard."""
        moved = [{**row, "podcast_id": f"new-{row['podcast_id']}"} for row in ROWS]
        found = changes(store, ROWS, moved)
        shown = [row["episode_id"] for row in ROWS]
        assert found == NO_DIFFERENCE | {"changed": shown, "unchanged": 0}, "a record names its show"
        edited = episode(1, title="Edited", podcast_id="other")
        assert changes(store, ROWS, [*moved[2:], edited]) == {
            "added": [],
            "changed": [row["episode_id"] for row in ROWS[1:]],
            "reembedded": ["e0001"],
            "removed": ["e0000"],
            "unchanged": 0,
        }

    def test_against_nothing_all_is_new(self, store: ArtifactStore) -> None:
        manifest = write(store, table(ROWS))
        found = lists(difference(store, None, manifest.snapshot_id))
        assert found == NO_DIFFERENCE | {"added": sorted(row["episode_id"] for row in ROWS), "unchanged": 0}

    def test_from_and_to_an_empty_catalogue(self, store: ArtifactStore) -> None:
        assert len(changes(store, [], ROWS)["added"]) == 60
        assert len(changes(store, ROWS, [])["removed"]) == 60
