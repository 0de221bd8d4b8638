"""Reading CSV: one broken row costs that row, a file that is none is refused with a reason."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from include.episodes import csv_reader
from include.episodes.csv_reader import Batch, read_batches
from include.episodes.quarantine import BrokenRow, Reason
from include.episodes.sources.files import DatasetError

HEADER = "id,text,show\n"


@dataclass
class Whole:
    """All batches of a file as one."""

    rows: list[tuple[str, ...]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    broken: list[BrokenRow] = field(default_factory=list)


def read(data: str | bytes, columns: tuple[str, ...] = ("id", "text", "show")) -> Whole:
    stream = io.BytesIO(data.encode() if isinstance(data, str) else data)
    whole = Whole()
    for batch in read_batches(stream, columns=columns, path=Path("x.csv")):
        assert batch.table.column_names == list(columns)
        whole.rows += rows_of(batch)
        whole.numbers += batch.numbers.tolist()
        whole.broken += batch.broken
    return whole


def rows_of(batch: Batch) -> list[tuple[str, ...]]:
    return list(zip(*batch.table.to_pydict().values(), strict=True))


def ids(batch: Whole) -> list[str]:
    return [row[0] for row in batch.rows]


def numbers(rows: list[BrokenRow]) -> list[tuple[int, str]]:
    return [(row.number, str(row.reason)) for row in rows]


@pytest.fixture(params=[7, 64, 2**18])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks that end within rows, within characters, and not at all: the outcome must be the same."""
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", request.param)
    return int(request.param)


def test_quoted_fields_keep_newlines_commas_and_quotes(block: int) -> None:
    batch = read(HEADER + '1,"a\n\nb, ""c""\r\nd",s\r\n\n2,é日本🎧,s')
    assert batch.rows == [("1", 'a\n\nb, "c"\r\nd', "s"), ("2", "é日本🎧", "s")]
    assert batch.numbers == [1, 2]
    assert not batch.broken


def test_columns_are_found_by_name(block: int) -> None:
    batch = read("\ufeffshow, more ,id,text\ns,x,1,t\n")
    assert batch.rows == [("1", "t", "s")]


def test_values_are_as_they_stand() -> None:
    assert read(HEADER + "  1 ,\x00\x07 NA ,null\n").rows == [("  1 ", "\x00\x07 NA ", "null")]


def test_ragged_rows_are_set_aside_one_by_one(block: int) -> None:
    batch = read(HEADER + "1,a,s\n2,b\n3,c,s,more\n4,d,s\n")
    assert ids(batch) == ["1", "4"]
    assert batch.numbers == [1, 4]
    assert numbers(batch.broken) == [(2, "malformed_row"), (3, "malformed_row")]
    assert batch.broken[0].raw == "2,b\n"
    assert batch.broken[0].detail == "2 fields instead of 3"


def test_a_ragged_row_over_many_lines_is_one_row(block: int) -> None:
    batch = read(HEADER + '1,a,s\n2,"b\nc\nd"\n3,e,s\n')
    assert ids(batch) == ["1", "3"]
    assert numbers(batch.broken) == [(2, "malformed_row")]
    assert batch.numbers == [1, 3]


def test_an_unclosed_quote_costs_its_own_row_only(block: int) -> None:
    rows = "".join(f'{n},"text {n}, and\nmore",s\n' for n in range(3, 9))
    batch = read(HEADER + "1,a,s\n" + '2,"never closed\nsecond line,s\n' + rows)
    assert ids(batch) == ["1", "3", "4", "5", "6", "7", "8"]
    assert numbers(batch.broken) == [(2, "malformed_row")]
    assert batch.broken[0].raw.startswith('2,"never closed\n')
    assert "quote" in batch.broken[0].detail


def test_an_unclosed_quote_without_another_quote_costs_its_own_row_only(block: int) -> None:
    batch = read(HEADER + '1,a,s\n2,"never closed,s\n' + "".join(f"{n},b,s\n" for n in range(3, 50)))
    assert ids(batch) == ["1", *map(str, range(3, 50))]
    assert numbers(batch.broken) == [(2, "malformed_row")]


def test_an_unclosed_quote_in_the_last_row_is_set_aside(block: int) -> None:
    batch = read(HEADER + '1,a,s\n2,"never closed')
    assert ids(batch) == ["1"]
    assert numbers(batch.broken) == [(2, "malformed_row")]


def test_a_quote_that_swallows_a_row_and_still_gives_the_right_number_of_fields_is_found(block: int) -> None:
    """Lenient parsers read ``1`` and ``2`` as one row here, whose text runs from the one into the other."""
    batch = read(HEADER + '1,"a,s\n2,"b",s\n3,c,s\n')
    assert ids(batch) == ["2", "3"]
    assert numbers(batch.broken) == [(1, "malformed_row")]


def test_a_row_open_for_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", 512)
    monkeypatch.setattr(csv_reader, "RECORD_BYTES", 4096)
    batch = read(HEADER + '1,"open,s\n' + "".join(f"{n},b,s\n" for n in range(2, 3000)))
    assert ids(batch) == list(map(str, range(2, 3000)))
    assert numbers(batch.broken) == [(1, "malformed_row")]


def test_broken_quotes_all_over_end_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "RESCAN_CHARS", 10_000)
    with pytest.raises(DatasetError, match="broken quotes all over"):
        read(HEADER + 'x",",\n' * 2000)


@pytest.mark.parametrize("size", [4_100, 10_000])
def test_a_line_without_end_is_refused(block: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the file ends just after it, in the same block, or later."""
    monkeypatch.setattr(csv_reader, "RECORD_BYTES", 4096)
    with pytest.raises(DatasetError, match=r"a line of more than 4,096 bytes"):
        read(HEADER + "x" * size)


def test_what_is_kept_of_a_broken_row_is_short() -> None:
    batch = read(HEADER + "1,a,s\n2," + "b" * 10_000 + "\n")
    assert len(batch.broken[0].raw) == csv_reader.RAW_CHARS


def test_a_field_of_5_mb_is_read() -> None:
    batch = read(HEADER + '1,"' + "word \n" * 900_000 + '",s\n2,b,s\n')
    assert [len(row[1]) for row in batch.rows] == [5_400_000, 1]


def test_a_few_rows_in_latin_1_are_set_aside(block: int) -> None:
    good = "".join(f"{n},café,s\n" for n in range(1, 6)).encode()
    batch = read(HEADER.encode() + good + "6,café,s\n".encode("latin-1") + b'7,"a\nb",s\n')
    assert ids(batch) == ["1", "2", "3", "4", "5", "7"]
    assert numbers(batch.broken) == [(6, "bad_encoding")]
    assert batch.broken[0].detail == "byte 0xe9 is not UTF-8"
    assert batch.broken[0].raw == "6,caf\ufffd,s"


def test_a_broken_row_that_is_not_utf_8_can_be_stored() -> None:
    batch = read(HEADER.encode() + b"1,a,s\n2,b,s\n3,c,s\n4,caf\xe9\n")
    assert numbers(batch.broken) == [(4, "malformed_row")]
    assert batch.broken[0].raw.encode() == "4,caf\ufffd\n".encode()


@pytest.mark.parametrize(
    "data",
    [
        (HEADER + "1,café,s\n").encode("latin-1"),
        HEADER.encode() + ("1,a,s\n" * 900 + "1,café,s\n" * 100).encode("latin-1"),
        (HEADER + "1,a,s\n").encode("utf-16"),
        (HEADER + "1,a,s\n").encode("utf-16-le"),
        (HEADER + "1,a,s\n").encode("utf-16-be"),
        (HEADER + "1,a,s\n").encode("utf-32"),
    ],
)
def test_a_file_in_another_encoding_is_refused(data: bytes) -> None:
    with pytest.raises(DatasetError, match="UTF-8"):
        read(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is empty"),
        ("\n\n \n", "is empty"),
        (HEADER, "has a header but no rows"),
        ("id,text\n1,a\n", r"no column show \(it has id, text\)"),
        ("id;text;show\n1;a;s\n", "comma-separated"),
        ("<!doctype html>\n<p>Not found", "is a web page"),
        ('"id,text,show\n1,a,s\n', "header"),
    ],
)
def test_a_file_that_is_no_table_is_named(data: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read(data)


def test_memory_does_not_grow_with_the_file() -> None:
    class Rows(io.RawIOBase):
        """64 MiB of rows, made as they are read."""

        left = 2**26

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            data = (b"id,text,show\n" if self.left == 2**26 else b"") + b"1," + b"x" * 1000 + b",s\n"
            count = min(len(data), self.left) if len(buffer) >= len(data) else 0
            buffer[:count] = data[:count]
            self.left -= count
            return count

    tracemalloc.start()
    batches = read_batches(io.BufferedReader(Rows()), columns=("id", "text"), path=Path("x.csv"))
    count = sum(len(batch.table) for batch in batches)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count > 60_000
    assert peak < 10 * csv_reader.BLOCK_BYTES < 2**26


def test_reasons_are_told_apart() -> None:
    assert len({str(reason) for reason in Reason}) == len(Reason)
