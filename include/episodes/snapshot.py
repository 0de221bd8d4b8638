"""Snapshots: immutable, whole versions of the prepared catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from include.episodes.parts import GROUP_ROWS, LocalPart
from include.episodes.schema import EPISODES, SCHEMA_VERSION, WARNINGS
from include.errors import OvertakenError, PermanentError
from include.storage import MANIFEST, ArtifactStore, digest

FOLDER = "snapshots"
LATEST = "latest.json"
QUARANTINE_FILE = "quarantine.parquet"
NOTHING = "nothing"
MAX_PUBLICATIONS = 1_000
"""How many are remembered: almost three years of nightly snapshots."""
INDEXED = (
    "content_hash",
    "podcast_id",
    "title",
    "show_title",
    "description",
    "categories",
    "language",
    "published_at",
    "duration_seconds",
    "audio_url",
)
"""Columns that the index holds, as a vector or as metadata: a change in one of them changes the episode's record."""


class Part(BaseModel):
    """One Parquet file of a snapshot: the episodes of one shard."""

    shard: int
    file: str
    rows: int
    sha256: str


class Manifest(BaseModel):
    """What a snapshot holds. A snapshot without it does not exist."""

    snapshot_id: str
    source_version: str
    schema_version: int = SCHEMA_VERSION
    created_at: datetime
    previous: str | None = None
    episodes: int
    shows: int
    counts: dict[str, int] = {}
    quarantined: dict[str, int] = {}
    parts: list[Part]

    @property
    def shards(self) -> int:
        return len(self.parts)

    @property
    def warnings(self) -> dict[str, int]:
        """What is odd about what was kept, and how often it occurs, the most frequent first."""
        found = {name: count for name in WARNINGS if (count := self.counts.get(name, 0))}
        return dict(sorted(found.items(), key=lambda item: -item[1]))


class Publication(BaseModel):
    """A snapshot that was made the latest one, and when."""

    snapshot_id: str
    published_at: datetime
    refused: list[str] = []
    """Versions of the source that a person went back from: they are not ingested again by themselves."""


def write_parts(
    store: ArtifactStore,
    parts: Sequence[LocalPart],
    *,
    source_version: str,
    counts: dict[str, int],
    quarantined: dict[str, int],
    quarantine: Path,
) -> Manifest:
    """Write a snapshot beside the others, without making it the latest.

    Its name follows from its content, so that preparing the same data again ends in the same snapshot.

    :param parts: finished files, one for each shard in order; no id may be in two of them. They are moved.
    :param quarantine: a Parquet file of the rows that could not be used; moved beside the parts.
    """
    snapshot_id = digest(str(SCHEMA_VERSION), source_version, *(part.sha256 for part in parts))
    if written := store.read_json_if_there(FOLDER, snapshot_id, MANIFEST):
        return Manifest.model_validate(written)

    previous = latest(store)
    manifest = Manifest(
        snapshot_id=snapshot_id,
        source_version=source_version,
        created_at=datetime.now(UTC),
        previous=previous.snapshot_id if previous else None,
        episodes=sum(part.rows for part in parts),
        shows=sum(part.shows for part in parts),
        counts=counts,
        quarantined=quarantined,
        parts=[
            Part(shard=part.shard, file=f"part-{part.shard:04d}.parquet", rows=part.rows, sha256=part.sha256)
            for part in parts
        ],
    )
    for part, local in zip(manifest.parts, parts, strict=True):
        store.move_file(local.path, FOLDER, snapshot_id, part.file)
    store.move_file(quarantine, FOLDER, snapshot_id, QUARANTINE_FILE)
    store.write_json(manifest.model_dump(mode="json"), FOLDER, snapshot_id, MANIFEST)
    return manifest


def publish(
    store: ArtifactStore,
    snapshot_id: str,
    *,
    source_version: str | None = None,
    seen: str | None = None,
    refused: Sequence[str] = (),
) -> Manifest:
    """Make a written snapshot the latest one, in one atomic step. Publishing the latest one again changes nothing.

    :param source_version: what it must have been made from, if given.
    :param seen: what :func:`latest_entry` was when the run began, if it is a run that publishes.
    :param refused: see :class:`Publication`.
    :raises PermanentError: it was made from another version of the source.
    :raises OvertakenError: another snapshot was published since the run began.
    """
    manifest = load(store, snapshot_id)
    if source_version is not None and manifest.source_version != source_version:
        raise PermanentError(
            f"The snapshot {snapshot_id} was made from version {manifest.source_version} of the source, but this run "
            f"looked up version {source_version}: clear prepare_snapshot with the tasks after it, or trigger a new run."
        )

    def change(before: bytes | None) -> bytes | None:
        past = _publications(before)
        if before is not None and json.loads(before)["snapshot_id"] == snapshot_id and past:
            return None
        if seen is not None and (now := _entry(before)) != seen:
            raise OvertakenError(
                f"The snapshot {snapshot_id} is not published: when its run started, the latest was {seen}; now it "
                f"is {now}. To go back on purpose, trigger ingest_episodes with go_back_to={snapshot_id}."
            )
        entry = Publication(snapshot_id=snapshot_id, published_at=datetime.now(UTC), refused=sorted(refused))
        kept = [item.model_dump(mode="json") for item in [*past, entry][-MAX_PUBLICATIONS:]]
        return json.dumps({"snapshot_id": snapshot_id, "publications": kept}, indent=2).encode()

    store.update(change, FOLDER, LATEST)
    return manifest


def latest_entry(store: ArtifactStore) -> str:
    """Names the latest publication, so that one can tell later whether there was another since.

    The snapshot alone does not say it: one may have gone back to it meanwhile.
    """
    return _entry(store.read_if_there(FOLDER, LATEST))


def _entry(latest: bytes | None) -> str:
    if latest is None:
        return NOTHING
    newest, past = str(json.loads(latest)["snapshot_id"]), _publications(latest)
    return f"{newest}, published at {past[-1].published_at.isoformat()}" if past else newest


def publications(store: ArtifactStore) -> list[Publication]:
    """What was published and when, the oldest first; the last one is the latest snapshot."""
    return _publications(store.read_if_there(FOLDER, LATEST))


def _publications(latest: bytes | None) -> list[Publication]:
    items = [] if latest is None else json.loads(latest).get("publications", [])
    return [Publication.model_validate(item) for item in items]


def latest(store: ArtifactStore) -> Manifest | None:
    """The published snapshot, or None before the first."""
    published = store.read_json_if_there(FOLDER, LATEST)
    return None if published is None else load(store, published["snapshot_id"])


def exists(store: ArtifactStore, snapshot_id: str) -> bool:
    """Whether a snapshot was written as a whole."""
    return store.is_complete(FOLDER, snapshot_id)


def load(store: ArtifactStore, snapshot_id: str) -> Manifest:
    """The manifest of a snapshot.

    :raises FileNotFoundError: there is none, or it was never finished.
    """
    return Manifest.model_validate(store.read_json(FOLDER, snapshot_id, MANIFEST))


def read(
    store: ArtifactStore,
    snapshot_id: str,
    *,
    columns: list[str] | None = None,
    shards: Sequence[int] | None = None,
) -> pa.Table:
    """The episodes of a snapshot, ordered by shard and id; all shards and columns unless named."""
    return pa.concat_tables(table for _, table in read_shards(store, snapshot_id, columns=columns, shards=shards))


def read_shards(
    store: ArtifactStore,
    snapshot_id: str,
    *,
    columns: list[str] | None = None,
    shards: Sequence[int] | None = None,
) -> Iterator[tuple[int, pa.Table]]:
    """The episodes of a snapshot shard by shard: its number, and a table ordered by id."""
    for part in load(store, snapshot_id).parts:
        if shards is None or part.shard in shards:
            table = store.read_table(FOLDER, snapshot_id, part.file, columns=columns)
            # Parquet has no seconds: what was written as such is read as milliseconds.
            yield part.shard, table.cast(pa.schema([EPISODES.field(name) for name in table.column_names]))


def reader(store: ArtifactStore, snapshot_id: str, *, columns: Sequence[str] = EPISODES.names) -> pa.RecordBatchReader:
    """The episodes of a snapshot as a stream in the order of :func:`read`: memory holds some thousands at a time."""
    manifest = load(store, snapshot_id)
    schema = pa.schema([EPISODES.field(name) for name in columns])

    def batches() -> Iterator[pa.RecordBatch]:
        for part in manifest.parts:
            with store.path(FOLDER, snapshot_id, part.file).open("rb") as file:
                for batch in pq.ParquetFile(file).iter_batches(GROUP_ROWS, columns=schema.names):
                    yield batch.select(schema.names).cast(schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def read_quarantine(store: ArtifactStore, snapshot_id: str, *, columns: list[str] | None = None) -> pa.Table:
    return store.read_table(FOLDER, snapshot_id, QUARANTINE_FILE, columns=columns)
