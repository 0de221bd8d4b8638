"""Rows of the dataset that cannot be used: the reason, and their content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from include.episodes.schema import QUARANTINE

GROUP_ROWS = 10_000
"""Rows in memory before they are written."""
MAX_ID_CHARS = 512
"""Pinecone's limit."""
USABLE_ID = rf"^[!-~]{{1,{MAX_ID_CHARS}}}$"
"""An id that every index accepts: printable ASCII without spaces."""


class Reason(StrEnum):
    """Why a row is in quarantine; the first that applies, in this order."""

    MALFORMED_ROW = "malformed_row"
    """Too many or too few fields, or a quote that is not closed where it should be."""
    BAD_ENCODING = "bad_encoding"
    """Some of its bytes are not UTF-8."""
    MISSING_ID = "missing_id"
    """Its own ``uuid`` is empty."""
    BAD_ID = "bad_id"
    """The episode's ``uuid`` is not one that every index accepts (:data:`USABLE_ID`)."""
    ORPHAN = "orphan"
    """The episode's show is not in the file of shows (or is in quarantine itself, other than for its title)."""
    SHOW_WITHOUT_TITLE = "show_without_title"
    """The episode's show is there and has no title."""
    MISSING_TITLE = "missing_title"
    """The title is empty, or nothing is left of it after cleaning."""
    DUPLICATE_ID = "duplicate_id"
    """An earlier row that is kept has the same ``uuid``; the detail says whether the rows are identical or differ."""


@dataclass
class BrokenRow:
    """A row that could not be read: its 1-based number (the header not counted), why, and the start of its text."""

    number: int
    reason: Reason
    detail: str
    raw: str


class Quarantine:
    """Collects the rows that cannot be used, and counts them by file and reason.

    :param path: a Parquet file that they are written to as they come; it is whole at the end of the block.
    """

    def __init__(self, path: Path) -> None:
        self._rows: list[dict[str, Any]] = []
        self._writer = pq.ParquetWriter(path, QUARANTINE, compression="zstd")
        self.counts: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        self._writer.close()

    def _write(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=QUARANTINE))
        self._rows = []

    def add(
        self,
        file: str,
        number: int,
        reason: Reason,
        *,
        key: str | None = None,
        detail: str | None = None,
        raw: str | None = None,
    ) -> None:
        """Put one row aside; the fields are those of :data:`include.episodes.schema.QUARANTINE`."""
        row = {"file": file, "row": number, "key": key or None, "reason": str(reason), "detail": detail, "raw": raw}
        self._rows.append(row)
        self.counts[file, str(reason)] += 1
        if len(self._rows) >= GROUP_ROWS:
            self._write()

    def add_broken(self, file: str, rows: Iterable[BrokenRow]) -> None:
        """Put aside the rows that could not be read."""
        for row in rows:
            self.add(file, row.number, row.reason, detail=row.detail, raw=row.raw)

    def rows_of(self, file: str) -> int:
        """How many rows of a file are in quarantine."""
        return sum(count for (name, _), count in self.counts.items() if name == file)

    def by_reason(self) -> dict[str, int]:
        """How many rows of all files are in quarantine for each reason that occurs, in the order of :class:`Reason`."""
        return {
            str(reason): count
            for reason in Reason
            if (count := sum(n for (_, r), n in self.counts.items() if r == reason))
        }
