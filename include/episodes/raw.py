"""The dataset's files as they are: which columns they have, and reading them row by row or whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from include.episodes.csv_reader import Batch, read_batches
from include.episodes.quarantine import Quarantine
from include.episodes.source import find_source, open_source

COLUMNS: dict[str, tuple[str, ...]] = {
    "podcasts": ("uuid", "title", "image", "description", "language", "categories", "website", "author", "itunes_id"),
    "episodes": ("uuid", "title", "audio", "audio_length", "pub_date", "description", "podcast_uuid"),
}
"""The columns of ``<name>.csv`` that podsearch knows; a file may have more, in any order."""


@dataclass(frozen=True)
class RawFile:
    """One file of the dataset, as read.

    ``table`` has every row that could be read: its columns as strings, empty fields as null. ``malformed`` has the
    others, in the shape of :data:`include.episodes.schema.QUARANTINE`. ``rows_read`` counts both.
    """

    table: pa.Table
    malformed: pa.Table
    rows_read: int

    def to_pandas(self) -> pd.DataFrame:
        """The readable rows as a data frame of nullable strings (Arrow's memory, not copied)."""
        dtypes = {pa.string(): pd.StringDtype("pyarrow")}
        frame: pd.DataFrame = self.table.to_pandas(types_mapper=dtypes.get)
        return frame


def batches(folder: Path, name: str, *, max_file_bytes: int) -> Iterator[Batch]:
    """The rows of ``<name>.csv``, with :data:`COLUMNS` in their order, as they are read.

    :param name: ``podcasts`` or ``episodes``.
    :raises DatasetError: the file cannot be read as a whole.
    """
    path = find_source(folder, name)
    with open_source(folder, name, max_file_bytes=max_file_bytes) as stream:
        yield from read_batches(stream, columns=COLUMNS[name], path=path)


def read_raw(folder: Path, name: str, *, max_file_bytes: int) -> RawFile:
    """A whole file, for validation before anything is prepared.

    :param name: ``podcasts`` or ``episodes``.
    :raises DatasetError: the file cannot be read as a whole.
    """
    schema = pa.schema([(column, pa.string()) for column in COLUMNS[name]])
    quarantine = Quarantine()
    tables = [schema.empty_table()]
    for batch in batches(folder, name, max_file_bytes=max_file_bytes):
        quarantine.add_broken(name, batch.broken)
        if batch.rows:
            columns = zip(*batch.rows, strict=True)
            tables.append(
                pa.table([pa.array([value or None for value in column], pa.string()) for column in columns], schema)
            )
    table = pa.concat_tables(tables)
    malformed = quarantine.table()
    return RawFile(table, malformed, len(table) + len(malformed))
