from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from great_expectations import ExpectationSuite
from great_expectations.expectations.core.expect_column_values_to_not_be_null import ExpectColumnValuesToNotBeNull

from include.episodes.columns import COLUMNS
from include.episodes.schema import EPISODES
from include.quality import frames, suites

LIMITS: dict[str, Any] = {"rows_read": 1, "max_quarantined_share": 0.35, "max_shrink": 0.2}
NO_SHOWS = pa.chunked_array([], pa.string())


def reader(columns: Mapping[str, Sequence[Any]], *, rows: int = 2) -> pa.RecordBatchReader:
    """A table of strings, a few rows at a time."""
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}).to_reader(rows)


def listed(column: pd.Series) -> list[Any]:
    """The values of a column, None where there is none."""
    return column.astype(object).where(column.notna(), None).tolist()


def test_raw_episodes_say_whether_the_show_is_known_and_the_date_can_be_read() -> None:
    episodes: dict[str, list[str | None]] = {
        "uuid": ["e1", "e2", "e3"],
        "title": ["One", "", "\u2003 "],
        "pub_date": ["2017-12-01 05:00:00+00", "yesterday", None],
        "audio_length": ["01:02:03", " ", "an hour" + "!" * 60],
        "podcast_uuid": ["p1", "p9", None],
    }

    frame = frames.raw_episodes(reader(episodes), pa.chunked_array([["p1", None]]))

    # A null id must not find the null id of a broken show.
    assert listed(frame["podcast_known"]) == [True, False, False]
    assert listed(frame["date_as_read"]) == [frames.READABLE, "yesterday", None]
    assert listed(frame["published_year"]) == [2017, None, None]
    assert listed(frame["length_as_read"]) == [frames.READABLE, None, ("an hour" + "!" * 60)[: frames.UNREAD_CHARS]]
    assert frame["title"].isna().tolist() == [False, True, True], "blank counts as missing"
    assert listed(frame["title_chars"]) == [3, None, None]
    assert frame["podcast_uuid"].isna().tolist() == [False, False, True]
    assert "description_chars" not in frame, "a missing column is for the suite to report, not an error here"


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ("Plain text.", False),
        ("I <3 you, and 3 < 4 > 2", False),
        ("An e-mail <ann@example.org>", False),
        ("One<br/>two", True),
        ("<P class='x'>One", True),
        ('<a href="https://example.org">here</a>', True),
    ],
)
def test_markup_is_told_from_plain_text(text: str, markup: bool) -> None:
    frame = frames.prepared_episodes(reader({"text": [text]}))

    assert frame["has_markup"].tolist() == [markup]


def test_texts_are_measured_and_left_behind() -> None:
    raw = frames.raw_podcasts(reader({"description": ["é" * 5_000, None], "image": [None, "https://example.org"]}))

    assert listed(raw["description_chars"]) == [5_000, None], "characters, not bytes"
    assert listed(raw["description"]) == [frames.LEFT_OUT, None]
    assert listed(raw["image"]) == [None, frames.LEFT_OUT]

    prepared = frames.prepared_episodes(reader({"text": ["é" * 5_000], "description": ["x" * 300], "title": ["T"]}))

    assert listed(prepared["text_chars"]) == [5_000]
    assert listed(prepared["description_chars"]) == [300]
    assert listed(prepared["text"]) == [frames.LEFT_OUT]


def test_values_stay_those_of_their_rows_across_batches() -> None:
    columns: dict[str, list[str | None]] = {
        "uuid": list("abcde"),
        "language": ["English", None, "German", "English", "Thai"],
        "title": list("12345"),
    }

    whole, pieces = frames.raw_podcasts(reader(columns, rows=5)), frames.raw_podcasts(reader(columns, rows=2))

    assert listed(pieces["uuid"]) == columns["uuid"]
    assert listed(pieces["language"]) == columns["language"]
    pd.testing.assert_frame_equal(whole, pieces)


def test_a_row_costs_little_memory_however_long_its_texts() -> None:
    rows = 2_000
    long = {name: [f"{number:0300}" for number in range(rows)] for name in COLUMNS["episodes"]}
    long |= {"uuid": [f"{number:032x}" for number in range(rows)], "audio_length": ["1800"] * rows}

    frame = frames.raw_episodes(reader(long, rows=100), NO_SHOWS)

    assert frame.memory_usage(index=False, deep=True).sum() / rows < 32 + 60
    assert "object" not in frame.dtypes.astype(str).tolist(), "columns of Python objects are slow to check"


@pytest.mark.parametrize(
    ("suite", "frame"),
    [
        (
            suites.raw_podcasts(malformed=0, **LIMITS),
            frames.raw_podcasts(reader({name: ["x"] for name in COLUMNS["podcasts"]})),
        ),
        (
            suites.raw_episodes(malformed=0, **LIMITS),
            frames.raw_episodes(reader({name: ["x"] for name in COLUMNS["episodes"]}), NO_SHOWS),
        ),
        (
            suites.episodes(quarantined=0, max_text_chars=9, **LIMITS),
            frames.prepared_episodes(EPISODES.empty_table().to_reader()),
        ),
    ],
    ids=["raw_podcasts", "raw_episodes", "episodes"],
)
def test_no_suite_looks_into_a_text_that_is_left_out(suite: ExpectationSuite, frame: pd.DataFrame) -> None:
    """A check of the values of such a column would judge the placeholder, and pass or fail on every table alike."""
    looked_into = {
        expectation.column
        for expectation in suite.expectations
        if hasattr(expectation, "column") and not isinstance(expectation, ExpectColumnValuesToNotBeNull)
    }
    left_out = {name for name in frame if _is_left_out(frame[name])}

    assert looked_into <= set(frame.columns)
    assert left_out
    assert not looked_into & left_out


def _is_left_out(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype) and column.cat.categories.tolist() == [frames.LEFT_OUT]
