"""What workers make of rows: texts put together in columns are those that ``compose_text`` makes one by one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import pyarrow as pa
import pyarrow.parquet as pq

from include.episodes.cleaning import CleanedRows, clean_episodes, clean_shows, make_part
from include.episodes.columns import COLUMNS
from include.episodes.runs import SortedRun, SortedRunWriter
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


def table(rows: Sequence[tuple[str, ...]]) -> pa.Table:
    """Rows of the columns of ``episodes.csv``."""
    return pa.table(list(map(pa.array, zip(*rows, strict=True))), COLUMNS["episodes"])


def sorted_run(folder: Path, name: str, cleaned: CleanedRows) -> list[SortedRun]:
    writer = SortedRunWriter(folder, name)
    writer.add(cleaned.table.append_column("shard", pa.array([0] * len(cleaned.table), pa.int32())))
    return writer.finish()


def runs_of_every_kind(folder: Path) -> tuple[list[SortedRun], list[SortedRun]]:
    """Every title and description with shows of every kind: fields that repeat others, are empty, end in a stop."""
    uuids = [f"s{number}" for number in range(len(SHOWS))]
    blank = [""] * len(SHOWS)
    titles, about = zip(*SHOWS, strict=True)
    values = {"uuid": uuids, "title": titles, "description": about, "language": blank, "categories": blank}
    shows = clean_shows(pa.table(values), max_text_chars=1_000)
    rows = [
        (f"e{number:04d}", title, "", "", "", description, uuids[number % len(uuids)])
        for number, (title, description, _) in enumerate(itertools.product(FIELDS, FIELDS, range(8)))
    ]
    episodes = clean_episodes(table(rows), max_text_chars=1_000)
    return sorted_run(folder, "podcasts", shows), sorted_run(folder, "episodes", episodes)


def test_texts_and_hashes_are_those_of_the_fields(tmp_path: Path) -> None:
    shows, episodes = runs_of_every_kind(tmp_path)
    part, _ = make_part(tmp_path / "part.parquet", 0, shows, episodes, stopped=Event())
    found = pq.ParquetFile(part.path).read().to_pylist()
    assert len(found) == 8 * len(FIELDS) ** 2
    for row in found:
        text = compose_text(row["title"], row["description"], row["show_title"], row["show_description"])
        assert (row["text"], row["content_hash"]) == (text, content_hash(text))


def test_a_part_that_is_not_wanted_any_more_is_given_up(tmp_path: Path) -> None:
    stopped = Event()
    stopped.set()
    assert make_part(tmp_path / "part.parquet", 0, *runs_of_every_kind(tmp_path), stopped=stopped)[0].rows == 0


def test_what_is_odd_is_told_by_position() -> None:
    rows = [
        ("e1", "T", "", "", "", "D", "s1"),
        ("e2", " ", "", "", "", "D", "s1"),
        ("e3", "T", "", "60", "2017-12-01", "<p> </p>", "s1"),
        ("e4", "T", "", "long", "soon", "D", "s1"),
        ("e5", "T", "", "long", "2017-12-01", "word " * 40, "s1"),
    ]
    cleaned = clean_episodes(table(rows), max_text_chars=100)
    assert cleaned.untitled == {1}
    assert cleaned.in_html == [False, False, True, False, False]
    assert cleaned.warnings == {
        0: ["empty_date"],
        2: ["without_description"],
        3: ["bad_date", "bad_audio_length"],
        4: ["bad_audio_length", "description_cut"],
    }


def test_no_rows_make_an_empty_part(tmp_path: Path) -> None:
    """As where all rows of a batch are broken, or all shows are in other shards."""
    nothing = {name: pa.table({column: pa.array([], pa.string()) for column in COLUMNS[name]}) for name in COLUMNS}
    assert len(clean_shows(nothing["podcasts"], max_text_chars=100).table) == 0
    assert len(clean_episodes(nothing["episodes"], max_text_chars=100).table) == 0
    part, without_description = make_part(tmp_path / "part.parquet", 0, [], [], stopped=Event())
    assert (part.rows, without_description) == (0, 0)
