"""Prepared episodes made by a test, snapshots of them, and what preparation makes of a dataset, all in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.episodes import snapshot
from include.episodes.parts import write_part
from include.episodes.prepare import Prepared, prepare
from include.episodes.schema import EPISODES, QUARANTINE, compose_text, content_hash, shard_of
from include.episodes.sources.contract import Folder
from include.storage import ArtifactStore

SHOWS = 12
Row = dict[str, Any]


def episode(number: int, **changes: Any) -> Row:
    """One prepared episode; its text and hash follow from its fields."""
    show = number % SHOWS
    row: Row = {
        "episode_id": f"e{number:04d}",
        "podcast_id": f"p{show:02d}",
        "title": f"Episode {number}",
        "description": f"What is told in number {number}",
        "show_title": f"Show {show}",
        "show_description": None if show == 3 else f"About show {show}",
        "language": (None, "English", "German")[number % 3],
        "categories": "Arts",
        "published_at": None if number % 7 == 0 else datetime(2017, 12, 1, tzinfo=UTC) + timedelta(hours=number),
        "duration_seconds": None if number % 5 == 0 else 60 * number,
        "audio_url": None,
    } | changes
    text = compose_text(row["title"], row["description"], row["show_title"], row["show_description"])
    return {"text": text, "content_hash": content_hash(text)} | row


def table(rows: Iterable[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=EPISODES)


def write_snapshot(
    store: ArtifactStore,
    episodes: pa.Table,
    *,
    source_version: str,
    shards: int,
    counts: dict[str, int],
    quarantined: dict[str, int],
    quarantine: pa.Table | None = None,
) -> snapshot.Manifest:
    """Write a snapshot of episodes, which may be in any order.

    :param quarantine: the rows that could not be used; none unless given.
    """
    episodes = episodes.cast(EPISODES).sort_by("episode_id")
    owners = pa.array([shard_of(key, shards) for key in episodes["podcast_id"].to_pylist()], pa.int32())
    with TemporaryDirectory() as folder:
        parts = [
            write_part(Path(folder) / f"{shard}.parquet", shard, [episodes.filter(pc.equal(owners, shard))])
            for shard in range(shards)
        ]
        file = Path(folder) / snapshot.QUARANTINE_FILE
        pq.write_table(QUARANTINE.empty_table() if quarantine is None else quarantine, file)
        return snapshot.write_parts(
            store, parts, source_version=source_version, counts=counts, quarantined=quarantined, quarantine=file
        )


def publish(store: ArtifactStore, rows: Iterable[Row], *, shards: int = 3, source: str = "v1") -> snapshot.Manifest:
    """Write a snapshot of some episodes and make it the latest."""
    manifest = write_snapshot(store, table(rows), source_version=source, shards=shards, counts={}, quarantined={})
    return snapshot.publish(store, manifest.snapshot_id)


@dataclass(frozen=True)
class InMemory:
    """The outcome of preparation, in the shapes of :mod:`include.episodes.schema`."""

    episodes: pa.Table
    quarantine: pa.Table
    counts: dict[str, int]
    quarantined: dict[str, int]


def load(prepared: Prepared) -> InMemory:
    """Read the outcome of preparation, before it is closed."""
    episodes = pa.concat_tables(pq.ParquetFile(part.path).read().cast(EPISODES) for part in prepared.parts)
    quarantine = pq.ParquetFile(prepared.quarantine_file).read()
    return InMemory(episodes, quarantine, prepared.counts, prepared.quarantined)


def prepare_in_memory(folder: Folder) -> InMemory:
    """Prepare a small dataset."""
    with (
        TemporaryDirectory() as work,
        prepare(folder, work=Path(work), shards=1, threads=1, max_file_bytes=2**30) as prepared,
    ):
        return load(prepared)
