"""Sorting more rows than memory holds: sorted runs on disk, merged as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

RUN_BYTES = 24 * 2**20
"""Rows are sorted and written when they take so much memory."""
BATCH_ROWS = 128
"""Rows read at a time of each run: memory for a merge is that of as many rows of all runs."""


@dataclass(frozen=True)
class SortedRun:
    """Rows of one shard in the order of their ids: some consecutive record batches of an Arrow file."""

    path: Path
    shard: int
    first: int
    last: int

    def batches(self) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(self.path)) as file, pa.ipc.open_file(file) as reader:
            for number in range(self.first, self.last):
                yield reader.get_batch(number)


class SortedRunWriter:
    """Collects rows, and writes them to a folder as runs, a file each time that :data:`RUN_BYTES` are together.

    A shard's rows are sorted by their first column.

    :param name: of the files, which are followed by a number.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._tables: list[pa.Table] = []
        self._bytes = 0
        self._files = 0
        self._runs: list[SortedRun] = []

    def add(self, table: pa.Table) -> None:
        """Add rows that have, beside what is kept, a column ``shard``; where that is null, the row is left out."""
        self._tables.append(table)
        self._bytes += table.nbytes
        if self._bytes >= RUN_BYTES:
            self._write()

    def finish(self) -> list[SortedRun]:
        """Write what is left; all runs."""
        if self._tables:
            self._write()
        return self._runs

    def _write(self) -> None:
        table = pa.concat_tables(self._tables)
        self._tables, self._bytes = [], 0
        order = pc.sort_indices(table, [("shard", "ascending"), (table.column_names[0], "ascending")])
        shards = table["shard"].take(order).drop_null()
        sizes = {item["values"]: item["counts"] for item in pc.value_counts(shards).to_pylist()}
        table = table.drop_columns(["shard"]).take(order[: len(shards)])
        path = self._folder / f"{self._name}-{self._files}.arrow"
        self._files += 1
        start = batches = 0
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            for shard, size in sizes.items():
                writer.write_table(table.slice(start, size).combine_chunks(), max_chunksize=BATCH_ROWS)
                count = -(-size // BATCH_ROWS)
                self._runs.append(SortedRun(path, shard, batches, batches + count))
                start, batches = start + size, batches + count


def merge(runs: Iterable[SortedRun]) -> Iterator[pa.Table]:
    """The rows of sorted runs as one sorted stream of tables of any size."""
    heads = list(map(_Head, runs))
    while heads := [head for head in heads if head.fill()]:
        # Up to where the first of the runs that go on has been read, no row can be missing.
        limit = min((head.end for head in heads if head.goes_on), default=None)
        table = pa.concat_tables(head.take(limit) for head in heads).combine_chunks()
        yield table.take(pc.sort_indices(table[0]))


class _Head:
    """The rows of a run that were read and not yet merged."""

    def __init__(self, run: SortedRun) -> None:
        self._batches, self._left = run.batches(), run.last - run.first
        self.table: pa.Table | None = None

    @property
    def goes_on(self) -> bool:
        """Whether there are rows that were not read."""
        return self._left > 0

    @property
    def end(self) -> str:
        """The key that was read last."""
        assert self.table is not None
        end: str = self.table[0][-1].as_py()
        return end

    def fill(self) -> bool:
        """Read until a batch is together, or the run has ended; False when no row is left.

        All heads are filled at every step, or it would take as many steps as there are batches.
        """
        while self.goes_on and (self.table is None or len(self.table) < BATCH_ROWS):
            table = pa.Table.from_batches([next(self._batches)])
            self._left -= 1
            self.table = table if self.table is None else pa.concat_tables([self.table, table])
        return bool(self.table)

    def take(self, limit: str | None) -> pa.Table:
        """Rows up to ``limit`` (None: all), which are done with."""
        assert self.table is not None
        count = len(self.table)
        if limit is not None:
            count = pc.sum(pc.less_equal(self.table[0], limit)).as_py() or 0
        taken, self.table = self.table.slice(0, count), self.table.slice(count)
        return taken
