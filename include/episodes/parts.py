"""The Parquet files of a snapshot, one per shard, written as a stream of sorted episodes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.episodes.schema import EPISODES

GROUP_ROWS = 4_096
"""Episodes of a Parquet row group, and of the pieces that the hash of the content is made of."""


@dataclass(frozen=True)
class LocalPart:
    """A finished part on the local disk: SHA-256 of its content, its number of episodes and of shows."""

    path: Path
    shard: int
    rows: int
    shows: int
    sha256: str


def write_part(path: Path, shard: int, episodes: Iterable[pa.Table]) -> LocalPart:
    """Write the episodes of one shard, which come in the order of their ids, in tables of any size.

    :raises ValueError: a required value is missing, or two episodes share an id.
    """
    sha, rows = hashlib.sha256(), 0
    shows: set[str] = set()
    last: str | None = None
    with pq.ParquetWriter(path, EPISODES, compression="zstd") as writer:
        for group in regrouped(episodes, GROUP_ROWS):
            table = group.cast(EPISODES)
            ids = table["episode_id"]
            if ids[0].as_py() == last or pc.any(pc.equal(ids[1:], ids[:-1])).as_py():
                raise ValueError("Two episodes share an episode_id; preparation must quarantine one of them.")
            last = ids[-1].as_py()
            shows.update(table["podcast_id"].unique().to_pylist())
            _update(sha, table)
            writer.write_table(table, row_group_size=GROUP_ROWS)
            rows += len(table)
    return LocalPart(path, shard, rows, len(shows), sha.hexdigest())


def regrouped(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows in tables of ``size`` rows, of one chunk each; the last one may be smaller, none is empty."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        held.append(table)
        count += len(table)
        while count >= size:
            whole = pa.concat_tables(held)
            yield whole.slice(0, size).combine_chunks()
            count -= size
            held = [whole.slice(size)] if count else []
    if count:
        yield pa.concat_tables(held).combine_chunks()


def _update(sha: hashlib._Hash, table: pa.Table) -> None:
    """Add the content of a table of one chunk to a hash, column by column: which values are null, lengths, values.

    The same content gives the same hash however Arrow holds it (chunks, slices, padding).
    """
    for column in table.columns:
        array = column.chunk(0)
        if array.null_count:
            sha.update(_values(array.is_valid().cast(pa.int64())))
        if array.type == pa.string():
            sha.update(_values(pc.binary_length(array).fill_null(0)))
            _, ends, text = array.buffers()
            ends = memoryview(ends).cast("i")
            first, last = ends[array.offset], ends[array.offset + len(array)]
            sha.update(memoryview(text)[first:last] if text else b"")
        else:
            sha.update(_values(array.cast(pa.int64()).fill_null(0)))


def _values(array: pa.Array) -> memoryview:
    """The memory of numbers."""
    width = array.type.bit_width // 8
    return memoryview(array.buffers()[1])[array.offset * width : (array.offset + len(array)) * width]
