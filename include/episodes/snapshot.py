"""Snapshots: immutable, whole versions of the prepared catalogue, and what changed between two of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from include.episodes.schema import EPISODES, SCHEMA_VERSION, shard_of
from include.storage import MANIFEST, ArtifactStore, digest

FOLDER = "snapshots"
LATEST = "latest.json"
INDEXED = ("content_hash", "title", "show_title", "language", "published_at")
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


class Difference(BaseModel):
    """Episode ids that differ between two snapshots, by what the index holds of them.

    ``changed`` has every episode whose record differs; ``reembedded`` those of them whose text differs.
    """

    previous: str | None
    snapshot_id: str
    added: list[str]
    changed: list[str]
    reembedded: list[str]
    removed: list[str]
    unchanged: int

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.changed or self.removed)


def write(
    store: ArtifactStore,
    episodes: pa.Table,
    *,
    source_version: str,
    shards: int,
    counts: dict[str, int],
    quarantined: dict[str, int],
    quarantine: pa.Table | None = None,
) -> Manifest:
    """Write a snapshot beside the others, without making it the latest.

    Its name follows from its content, so that preparing the same data again ends in the same snapshot.

    :param episodes: the prepared episodes, in the shape of :data:`include.episodes.schema.EPISODES`.
    :param quarantine: the rows that could not be used; kept beside the parts.
    :raises ValueError: two episodes share an id.
    """
    episodes = episodes.cast(EPISODES).sort_by("episode_id")
    if len(pc.unique(episodes["episode_id"])) != len(episodes):
        raise ValueError("Two episodes share an episode_id; preparation must quarantine one of them.")
    owner = pa.array([shard_of(key, shards) for key in episodes["podcast_id"].to_pylist()], pa.int32())
    tables = [episodes.filter(pc.equal(owner, shard)) for shard in range(shards)]
    hashes = [_hash(table) for table in tables]
    snapshot_id = digest(str(SCHEMA_VERSION), source_version, *hashes)
    if exists(store, snapshot_id):
        return load(store, snapshot_id)

    previous = latest(store)
    manifest = Manifest(
        snapshot_id=snapshot_id,
        source_version=source_version,
        created_at=datetime.now(UTC),
        previous=previous.snapshot_id if previous else None,
        episodes=len(episodes),
        shows=len(pc.unique(episodes["podcast_id"])),
        counts=counts,
        quarantined=quarantined,
        parts=[
            Part(shard=shard, file=f"part-{shard:04d}.parquet", rows=len(table), sha256=sha)
            for shard, (table, sha) in enumerate(zip(tables, hashes, strict=True))
        ],
    )
    for part, table in zip(manifest.parts, tables, strict=True):
        store.write_table(table, FOLDER, snapshot_id, part.file)
    if quarantine is not None:
        store.write_table(quarantine, FOLDER, snapshot_id, "quarantine.parquet")
    store.write_json(manifest.model_dump(mode="json"), FOLDER, snapshot_id, MANIFEST)
    return manifest


def publish(store: ArtifactStore, snapshot_id: str) -> Manifest:
    """Make a written snapshot the latest one, in one atomic step."""
    manifest = load(store, snapshot_id)
    store.write_json({"snapshot_id": snapshot_id}, FOLDER, LATEST)
    return manifest


def latest(store: ArtifactStore) -> Manifest | None:
    """The published snapshot, or None before the first."""
    if not store.exists(FOLDER, LATEST):
        return None
    return load(store, store.read_json(FOLDER, LATEST)["snapshot_id"])


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
    columns: Sequence[str] | None = None,
    shards: Sequence[int] | None = None,
) -> pa.Table:
    """The episodes of a snapshot, ordered by shard and id; all shards and columns unless named."""
    parts = [part for part in load(store, snapshot_id).parts if shards is None or part.shard in shards]
    wanted = list(columns) if columns is not None else None
    table = pa.concat_tables(store.read_table(FOLDER, snapshot_id, part.file, columns=wanted) for part in parts)
    # Parquet has no seconds: what was written as such is read as milliseconds.
    return table.cast(pa.schema([EPISODES.field(name) for name in table.column_names]))


def read_quarantine(store: ArtifactStore, snapshot_id: str) -> pa.Table:
    return store.read_table(FOLDER, snapshot_id, "quarantine.parquet")


def difference(store: ArtifactStore, previous: str | None, snapshot_id: str) -> Difference:
    """What must happen to an index of ``previous`` to become one of ``snapshot_id``."""
    columns = ["episode_id", *INDEXED]
    new = read(store, snapshot_id, columns=columns).to_pandas().set_index("episode_id")
    if previous is None:
        ids = sorted(new.index)
        return Difference(
            previous=None, snapshot_id=snapshot_id, added=ids, changed=[], reembedded=[], removed=[], unchanged=0
        )
    old = read(store, previous, columns=columns).to_pandas().set_index("episode_id")
    kept = new.index.intersection(old.index)
    before, after = old.loc[kept], new.loc[kept]
    equal = (before == after) | (before.isna() & after.isna())
    changed = kept[~equal.all(axis=1)]
    return Difference(
        previous=previous,
        snapshot_id=snapshot_id,
        added=sorted(new.index.difference(old.index)),
        changed=sorted(changed),
        reembedded=sorted(kept[~equal["content_hash"]]),
        removed=sorted(old.index.difference(new.index)),
        unchanged=len(kept) - len(changed),
    )


def _hash(table: pa.Table) -> str:
    """SHA-256 of a table's content in Arrow's stream format, whatever its chunks."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return hashlib.sha256(sink.getvalue()).hexdigest()
