"""Reading CSV into columns: the rows of the standard library's parser, or none where a row might be broken."""

from __future__ import annotations

import csv
import io
import random

import pytest

from include.episodes.csv_columns import read_columns

FIELDS = [
    "a",
    "",
    " x",
    '""',
    '"a, b"',
    '"a\nb"',
    '"a""b"',
    '""""',
    '"""x"""',
    '"a\r\nb"',
    '"a\rb"',
    "é日",
    "\ufeffz",
    "\u2028",
]


def rows_of(text: str, *, final: bool = False) -> tuple[list[tuple[str, ...]], str] | None:
    found = read_columns(text.encode(), 3, final=final)
    if found is None:
        return None
    table, rest = found
    return list(zip(*table.to_pydict().values(), strict=True)), rest.decode()


def as_python_reads(text: str) -> list[tuple[str, ...]]:
    return [tuple(row) for row in csv.reader(io.StringIO(text, newline="\n"), strict=True) if row]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_sound_rows_are_those_of_the_standard_library(line_end: str) -> None:
    rng = random.Random(7)
    for _ in range(300):
        lines = [",".join(rng.choices(FIELDS, k=3)) + line_end * rng.randint(1, 2) for _ in range(rng.randint(1, 9))]
        text = "".join(lines)
        assert rows_of(text) == (as_python_reads(text), "")
        if not text.endswith('"\n'):
            assert rows_of(text.rstrip("\r\n"), final=True) == (as_python_reads(text), "")


@pytest.mark.parametrize("open_row", ['3,"e\n', '"""\n', '3,"",",""\n\n', '3,"a\r\n'])
def test_a_row_that_is_open_at_the_end_comes_back_as_it_is(open_row: str) -> None:
    assert rows_of('1,"a\nb",c\n2,,\n' + open_row) == ([("1", "a\nb", "c"), ("2", "", "")], open_row)
    assert rows_of("1,a,c\n" + open_row, final=True) is None


@pytest.mark.parametrize(
    "row", ['a"b,c,d', '"a"b,c,d', '"a" ,c,d', "a,b", "a,b,c,d", "a\rb,c,d", "a,b,c\rd,e,f", "\x00,b,c"]
)
def test_what_might_be_broken_is_left_to_the_strict_parser(row: str) -> None:
    assert rows_of(f"1,b,c\n{row}\n2,b,c\n") is None


def test_bytes_that_are_not_utf_8_are_left_to_the_strict_parser() -> None:
    assert read_columns(b"1,caf\xe9,c\n", 3, final=True) is None
