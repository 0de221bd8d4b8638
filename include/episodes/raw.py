"""The dataset's files as they are: which columns they have, and reading them row by row or as Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from include.episodes.columns import COLUMNS
from include.episodes.csv_reader import Batch, read_batches
from include.episodes.parts import regrouped
from include.episodes.sources.contract import Folder
from include.episodes.sources.files import find_source, open_source

BATCH_ROWS = 8_192
"""Rows of an Arrow batch: enough that what is done once a batch costs nothing, yet a few MiB only."""


class RawFile:
    """One file of the dataset as it is, for validation before anything is prepared. It is read as a stream.

    ``rows_read`` counts the rows read so far, ``malformed`` those of them that could not be read.

    :param name: ``podcasts`` or ``episodes``.
    """

    def __init__(self, folder: Folder, name: str, *, max_file_bytes: int) -> None:
        self._folder, self._name, self._limit = folder, name, max_file_bytes
        self.rows_read = 0
        self.malformed = 0

    def reader(self) -> pa.RecordBatchReader:
        """Every row that can be read, from the first: its columns as strings, empty fields as empty strings.

        Reading raises DatasetError where the file cannot be read as a whole.
        """
        schema = pa.schema([(column, pa.string()) for column in COLUMNS[self._name]])
        rows = (batch for table in regrouped(self._tables(), BATCH_ROWS) for batch in table.to_batches())
        return pa.RecordBatchReader.from_batches(schema, rows)

    def column(self, name: str) -> pa.ChunkedArray:
        """The values of one column."""
        return pa.chunked_array([batch[name] for batch in self.reader()], pa.string())

    def _tables(self) -> Iterator[pa.Table]:
        self.rows_read = self.malformed = 0
        for batch in batches(self._folder, self._name, max_file_bytes=self._limit):
            self.malformed += len(batch.broken)
            self.rows_read += len(batch.table) + len(batch.broken)
            yield batch.table


def batches(folder: Folder, name: str, *, max_file_bytes: int) -> Iterator[Batch]:
    """The rows of ``<name>.csv``, with :data:`COLUMNS` in their order, as they are read.

    :param name: ``podcasts`` or ``episodes``.
    :raises DatasetError: the file cannot be read as a whole.
    """
    path = find_source(folder, name)
    with open_source(folder, name, max_file_bytes=max_file_bytes) as stream:
        yield from read_batches(stream, columns=COLUMNS[name], path=path)
