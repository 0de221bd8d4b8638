"""Reading a CSV file as a stream of batches, keeping what is wrong with a row to that row.

The standard library's parser says what a row is, in strict mode: it accepts fields of any length, and it reports a
quote that is closed in the wrong place, where lenient parsers silently read on. After a broken row, reading goes on at
its next line: an unclosed quote costs its own row and not those that follow. Where nothing is broken, which is almost
everywhere, :mod:`include.episodes.csv_columns` reads the same rows faster.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.episodes.csv_columns import read_columns
from include.episodes.quarantine import BrokenRow, Reason
from include.episodes.sources.contract import Folder
from include.episodes.sources.files import DatasetError, refuse_web_page

BLOCK_BYTES = 4 * 2**20
"""Bytes read at a time: enough that what is done once a block costs little, and few of them are in memory at once."""
RECORD_BYTES = 32 * 2**20
"""A row that is still open after this many characters has an unclosed quote."""
RESCAN_CHARS = 2**30
"""Characters that may be read again behind broken quotes before the file is given up: bounds a hostile file's time."""
RAW_CHARS = 2_000
"""How much of a broken row is kept."""
MAX_BAD_ENCODING = 0.05
"""Share of rows that are not UTF-8 above which the whole file is taken to be in another encoding."""
FEW_ROWS = 400
"""In files smaller than this, a share says little: more than half of the rows must be bad."""

_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_UTF16_OR_32 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


@dataclass
class Batch:
    """Consecutive rows of a file: the wanted columns of those that could be read, and those that could not.

    ``table`` has the columns as strings, ``numbers`` the number of each of its rows in the file.
    """

    table: pa.Table
    numbers: npt.NDArray[np.int64]
    broken: list[BrokenRow] = field(default_factory=list)


def read_batches(stream: BinaryIO, *, columns: Sequence[str], path: Folder) -> Iterator[Batch]:
    """Read the wanted columns of a CSV file with a header, in UTF-8 (a byte order mark is accepted).

    Values are as they stand in the file, an empty field is an empty string; other columns and empty lines are ignored.

    :param columns: two or more names; rows have their values in this order.
    :param path: the file's name in messages.
    :raises DatasetError: the file is empty, has no rows, lacks a column, is not UTF-8, or is no CSV file.
    """
    csv.field_size_limit(RECORD_BYTES)
    records: _Records | None = None
    bad_encoding = 0
    for data, final in _blocks(stream, path):
        if records is None:
            header, data = _header(data, path)
            positions = _positions(header, columns, path)
            records = _Records(path, len(header))
        batch = records.feed(data, final=final)
        batch.table = batch.table.select(positions).rename_columns(list(columns))
        bad_encoding += sum(row.reason is Reason.BAD_ENCODING for row in batch.broken)
        _check_encoding(bad_encoding, records.number, final, path)
        yield batch
    if records is None:
        raise DatasetError(f"{path} is empty: download it again.")
    if records.number == 0:
        raise DatasetError(f"{path} has a header but no rows: download it again.")


def _blocks(stream: BinaryIO, path: Folder) -> Iterator[tuple[bytes, bool]]:
    """Whole lines of a block, and whether they are the last."""
    start = stream.read(BLOCK_BYTES)
    refuse_web_page(start, path)
    if start.startswith(_UTF16_OR_32) or start[:4096].count(b"\x00") * 5 > len(start[:4096]):
        raise DatasetError(f"{path} is in UTF-16 or UTF-32, or no text at all: save it as CSV in UTF-8.")
    rest, more = b"", start.removeprefix(b"\xef\xbb\xbf")
    while more:
        following = stream.read(BLOCK_BYTES)
        data = rest + more
        end = data.rfind(b"\n") + 1
        if len(data) - end > RECORD_BYTES:
            raise DatasetError(
                f"{path} has a line of more than {RECORD_BYTES:,} bytes, so it is not a CSV file: check it."
            )
        cut = end if following else len(data)
        data, rest = data[:cut], data[cut:]
        more = following
        if data:
            yield data, not following


def _lines(data: bytes) -> list[str]:
    """Lines as text; bytes that are not UTF-8 become surrogates."""
    return list(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="\n"))


def _bytes(lines: Iterable[str]) -> bytes:
    return "".join(lines).encode("utf-8", "surrogateescape")


def _header(data: bytes, path: Folder) -> tuple[list[str], bytes]:
    """The names of the columns, and what follows them."""
    lines = _lines(data)
    reader = csv.reader(lines, strict=True)
    try:
        for row in reader:
            if any(name.strip() for name in row):
                return [name.strip() for name in row], _bytes(lines[reader.line_num :])
    except csv.Error as error:
        raise DatasetError(
            f"{path} does not start with a CSV header ({error}): check that it is the dataset."
        ) from error
    raise DatasetError(f"{path} is empty: download it again.")


def _positions(header: Sequence[str], columns: Sequence[str], path: Folder) -> list[int]:
    missing = [name for name in columns if name not in header]
    if missing:
        found = "".join(char if char.isprintable() else "\ufffd" for char in _readable(", ".join(header))[:200])
        raise DatasetError(
            f"{path} has no column {', '.join(missing)} (it has {found}): check that it is the dataset, "
            "comma-separated, with its header."
        )
    return [header.index(name) for name in columns]


def _check_encoding(bad: int, rows: int, final: bool, path: Folder) -> None:
    share = bad / max(rows, 1)
    if (rows >= FEW_ROWS and share > MAX_BAD_ENCODING) or (final and share > 0.5):
        raise DatasetError(
            f"{path} is not in UTF-8: {bad:,} of its first {rows:,} rows have bytes of another encoding "
            "(Latin-1, Windows-1252?). Save it as CSV in UTF-8."
        )


def _readable(text: str) -> str:
    """Text that can be stored: bytes that are not UTF-8 become replacement characters."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@dataclass
class _Rows:
    """Rows that the standard library's parser has read, and those that it could not read."""

    rows: list[list[str]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    broken: list[BrokenRow] = field(default_factory=list)


class _Records:
    """Parses lines into rows of ``width`` fields, across blocks.

    A row is broken when the parser refuses it or when it has another number of fields. Its first line is put aside and
    parsing goes on at the next one: rows that an unclosed quote had swallowed come back. What is left of the broken row
    (lines that are no rows either) is not counted again.
    """

    def __init__(self, path: Folder, width: int) -> None:
        self.path, self.width = path, width
        self.number = 0
        self._open = b""
        self._in_remains = False
        self._rescanned = 0

    def feed(self, data: bytes, *, final: bool) -> Batch:
        """The rows that end in these lines; lines of a row that is still open wait for the next block."""
        data = self._open + data
        sound = read_columns(data, self.width, final=final) if len(data) < RECORD_BYTES else None
        if sound is None:
            return self._feed_lines(data, final)
        table, self._open = sound
        self._in_remains = self._in_remains and not len(table)
        first, self.number = self.number + 1, self.number + len(table)
        return Batch(table, np.arange(first, self.number + 1))

    def _feed_lines(self, data: bytes, final: bool) -> Batch:
        lines, self._open = _lines(data), b""
        batch = _Rows()
        position = 0
        while position < len(lines):
            position = self._parse(lines, position, batch, final)
        columns = list(zip(*batch.rows, strict=True)) or [()] * self.width
        names = [str(number) for number in range(self.width)]
        table = pa.table([pa.array(column, pa.string()) for column in columns], names)
        return Batch(table, np.array(batch.numbers, np.int64), batch.broken)

    def _parse(self, lines: list[str], start: int, batch: _Rows, final: bool) -> int:
        """Parse from a line on until a broken row needs a fresh start; returns the line to go on from."""
        reader = csv.reader(lines[start:] if start else lines, strict=True)
        done = 0
        while True:
            detail = ""
            try:
                for row in reader:
                    if len(row) != self.width and row:
                        detail = f"{len(row)} fields instead of {self.width}"
                        break
                    if row:
                        self._keep(row, batch)
                    done = reader.line_num
            except csv.Error as error:
                ended = start + reader.line_num >= len(lines)
                if ended and not final and self._may_go_on(error, lines[start + done :]):
                    self._open = _bytes(lines[start + done :])
                    return len(lines)
                detail = f"unclosed or misplaced quote ({error})"
            if not detail:
                return len(lines)
            self._break(lines, start + done, start + reader.line_num, detail, batch)
            done += 1
            if reader.line_num != done:
                return start + done

    def _keep(self, row: list[str], batch: _Rows) -> None:
        """Add a row, or put it aside if it has bytes that are not UTF-8."""
        self.number += 1
        self._in_remains = False
        text = ",".join(row)
        if found := _ESCAPED_BYTE.search(text):
            detail = f"byte 0x{ord(found[0]) - 0xDC00:02x} is not UTF-8"
            batch.broken.append(BrokenRow(self.number, Reason.BAD_ENCODING, detail, _readable(text[:RAW_CHARS])))
        else:
            batch.rows.append(row)
            batch.numbers.append(self.number)

    def _may_go_on(self, error: csv.Error, lines: list[str]) -> bool:
        return "unexpected end of data" in str(error) and sum(map(len, lines)) < RECORD_BYTES

    def _break(self, lines: list[str], first: int, end: int, detail: str, batch: _Rows) -> None:
        """Put the first line of a broken row aside, or add it to the broken row that it is left over from."""
        raw = _readable(lines[first][:RAW_CHARS])
        # With a wrong quote of its own and commas enough, it is no rest of the row before, but another one.
        is_row = "quote" in detail and lines[first].count(",") >= self.width - 1
        if self._in_remains and not is_row:
            if batch.broken:
                row = batch.broken[-1]
                row.raw = (row.raw + raw)[:RAW_CHARS]
        else:
            self.number += 1
            batch.broken.append(BrokenRow(self.number, Reason.MALFORMED_ROW, detail, raw))
        # One line with a wrong number of fields leaves nothing over; a longer row, or a wrong quote, does.
        self._in_remains = self._in_remains or end > first + 1 or "quote" in detail
        self._rescanned += sum(map(len, lines[first + 1 : end]))
        if self._rescanned > RESCAN_CHARS:
            raise DatasetError(f"{self.path} has broken quotes all over, so it is not a CSV file: check it.")
