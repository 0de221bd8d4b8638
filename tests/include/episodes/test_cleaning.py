"""What workers make of rows: texts put together in columns are those that ``compose_text`` makes one by one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.episodes.cleaning import Cleaner
from include.episodes.columns import COLUMNS
from include.episodes.quarantine import Reason
from include.episodes.schema import compose_text, content_hash

FIELDS = (
    "Same",
    "same.",
    "SAME words",
    "Straße",
    "STRASSE!",
    "... dots",
    "...",
    "题。",
    "Why?",
    "…and so on",
    "ﬃ x y",
    "ffi x y",
)
SHOWS = [*itertools.product(FIELDS, ("", *FIELDS[::3]))]


def table(rows: Sequence[tuple[object, ...]]) -> pa.Table:
    """Rows of a number and the columns of ``episodes.csv``."""
    return pa.table(list(map(pa.array, zip(*rows, strict=True))), ["row", *COLUMNS["episodes"]])


def test_texts_and_hashes_are_those_of_the_fields(tmp_path: Path) -> None:
    """Every title and description with shows of every kind: fields that repeat others, are empty, end in a stop."""
    cleaner = Cleaner(tmp_path, shards=1, max_text_chars=1_000, number=0)
    uuids = [f"s{number}" for number in range(len(SHOWS))]
    blank = [""] * len(SHOWS)
    titles, about = zip(*SHOWS, strict=True)
    shows = {"uuid": uuids, "title": titles, "description": about, "language": blank, "categories": blank}
    cleaner.shows(pa.table({**shows, "row": range(len(SHOWS))}))
    rows = [
        (number, f"e{number:04d}", title, "", "", "", description, uuids[number % len(uuids)])
        for number, (title, description, _) in enumerate(itertools.product(FIELDS, FIELDS, range(8)))
    ]
    cleaner.episodes(table(rows))
    runs = cleaner.finish()
    part, _ = cleaner.part(0, runs["shows"], [], runs["episodes"], [])
    found = pq.ParquetFile(part.path).read().to_pylist()
    assert len(found) == len(rows)
    for row in found:
        text = compose_text(row["title"], row["description"], row["show_title"], row["show_description"])
        assert (row["text"], row["content_hash"]) == (text, content_hash(text))


def test_reasons_and_warnings_are_told_by_position(tmp_path: Path) -> None:
    cleaner = Cleaner(tmp_path, shards=1, max_text_chars=100, number=0)
    rows = [
        (1, "e1", "T", "", "", "", "D", "s1"),
        (2, "e2", " ", "", "", "", "D", "s1"),
        (3, "e3", "T", "", "60", "2017-12-01", "<p> </p>", "s1"),
        (4, "e4", "T", "", "long", "soon", "D", "s1"),
        (5, "e5", "T", "", "long", "2017-12-01", "word " * 40, "s1"),
    ]
    outcome = cleaner.episodes(table(rows))
    assert outcome.rejected == {1: (Reason.MISSING_TITLE, None)}
    assert outcome.warnings == {
        0: ["empty_date"],
        2: ["without_description"],
        3: ["bad_date", "bad_audio_length"],
        4: ["bad_audio_length", "description_cut"],
    }


def test_no_rows_are_no_work(tmp_path: Path) -> None:
    cleaner = Cleaner(tmp_path, shards=1, max_text_chars=100, number=0)
    nothing = pa.table({})
    assert (cleaner.shows(nothing).rejected, cleaner.episodes(nothing).rejected) == ({}, {})
    part, without_description = cleaner.part(0, [], [], [], [])
    assert (part.rows, without_description) == (0, 0)
