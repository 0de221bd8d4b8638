"""Sorting more rows than memory holds: sorted runs on disk, merged as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

RUN_BYTES = 24 * 2**20
"""Rows are sorted and written when they take so much memory."""
BATCH_ROWS = 256
"""Rows read at a time of each run: memory for a merge is that of as many rows of all runs."""


@dataclass(frozen=True)
class Run:
    """Rows of one shard in the order of their ids: some consecutive record batches of an Arrow file."""

    path: Path
    shard: int
    first: int
    last: int

    def batches(self) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(self.path)) as file, pa.ipc.open_file(file) as reader:
            for number in range(self.first, self.last):
                yield reader.get_batch(number)


class RunWriter:
    """Collects rows, and writes them to a folder as runs, a file each time that :data:`RUN_BYTES` are together.

    :param key: the column that a shard's rows are sorted by.
    :param name: of the files, which are followed by a number.
    """

    def __init__(self, folder: Path, name: str, *, key: str) -> None:
        self._folder, self._name, self._key = folder, name, key
        self._tables: list[pa.Table] = []
        self._bytes = 0
        self._files = 0
        self._runs: list[Run] = []

    def add(self, table: pa.Table) -> None:
        """Add rows that have, beside what is kept, a column ``shard``."""
        self._tables.append(table)
        self._bytes += table.nbytes
        if self._bytes >= RUN_BYTES:
            self._write()

    def finish(self) -> list[Run]:
        """Write what is left; all runs."""
        if self._tables:
            self._write()
        return self._runs

    def _write(self) -> None:
        table = pa.concat_tables(self._tables)
        self._tables, self._bytes = [], 0
        table = table.take(pc.sort_indices(table, [("shard", "ascending"), (self._key, "ascending")]))
        sizes = {item["values"]: item["counts"] for item in pc.value_counts(table["shard"]).to_pylist()}
        table = table.drop_columns(["shard"])
        path = self._folder / f"{self._name}-{self._files}.arrow"
        self._files += 1
        start = batches = 0
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            for shard, size in sizes.items():
                writer.write_table(table.slice(start, size).combine_chunks(), max_chunksize=BATCH_ROWS)
                count = -(-size // BATCH_ROWS)
                self._runs.append(Run(path, shard, batches, batches + count))
                start, batches = start + size, batches + count


def merge(runs: Iterable[Run], *, key: str, dropped: Sequence[int] = ()) -> Iterator[pa.Table]:
    """The rows of sorted runs as one sorted stream of tables of any size.

    :param key: the column that the runs are sorted by.
    :param dropped: values of the column ``row`` that are left out.
    """
    unwanted = np.unique(np.array(dropped, np.int64))
    heads = [head for run in runs if (head := _Head(run.batches(), key, unwanted)).advance()]
    while heads:
        # Up to where the first of the batches at hand ends, no row can be missing.
        limit = min(head.end for head in heads)
        table = pa.concat_tables(head.take(limit) for head in heads)
        yield table.take(pc.sort_indices(table, [(key, "ascending")]))
        heads = [head for head in heads if len(head.table) or head.advance()]


class _Head:
    """The batch of a run that is being merged."""

    def __init__(self, batches: Iterator[pa.RecordBatch], key: str, unwanted: npt.NDArray[np.int64]) -> None:
        self._batches, self._key, self._unwanted = batches, key, unwanted
        self.end = ""
        self.table: pa.Table = pa.table({})

    def advance(self) -> bool:
        """Go on to the next batch that has rows; False at the end."""
        for batch in self._batches:
            table = pa.Table.from_batches([batch])
            if len(self._unwanted):
                rows = table["row"].to_numpy()
                places = np.searchsorted(self._unwanted, rows)  # quicker than is_in, which hashes all of them each time
                places[places == len(self._unwanted)] = 0
                table = table.filter(pa.array(self._unwanted[places] != rows))
            if len(table):
                self.table, self.end = table, table[self._key][-1].as_py()
                return True
        return False

    def take(self, limit: str) -> pa.Table:
        """Rows up to ``limit``, which are done with."""
        count = len(self.table)
        if self.end > limit:
            count = pc.sum(pc.less_equal(self.table[self._key], limit)).as_py()
        taken, self.table = self.table.slice(0, count), self.table.slice(count)
        return taken
