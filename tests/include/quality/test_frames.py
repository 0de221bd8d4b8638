from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from include.quality import frames


def test_raw_episodes_say_whether_the_show_is_known_and_the_date_can_be_read() -> None:
    podcasts = pd.DataFrame({"uuid": ["p1", None]}, dtype="str")
    episodes = pd.DataFrame(
        {
            "uuid": ["e1", "e2", "e3"],
            "title": ["One", "", "  "],
            "pub_date": ["2017-12-01 05:00:00+00", "yesterday", None],
            "podcast_uuid": ["p1", "p9", None],
        },
        dtype="str",
    )

    frame = frames.raw_episodes(episodes, podcasts)

    # A null id must not find the null id of a broken show.
    assert frame["podcast_known"].tolist() == [True, False, False]
    assert frame["date_parses"].tolist() == [True, False, pd.NA]
    assert frame["published_year"].tolist() == [2017, pd.NA, pd.NA]
    assert frame["title"].isna().tolist() == [False, True, True], "blank counts as missing"
    assert frame["title_chars"].tolist() == [3, pd.NA, pd.NA]
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
    frame = frames.prepared_episodes(pa.table({"text": [text]}))

    assert frame["has_markup"].tolist() == [markup]


def test_long_texts_are_measured_and_left_behind() -> None:
    raw = frames.raw_podcasts(pd.DataFrame({"description": ["é" * 5_000]}, dtype="str"))

    assert raw["description_chars"].tolist() == [5_000]
    assert raw["description"].str.len().tolist() == [200]

    table = pa.table({"text": ["é" * 5_000], "description": ["x" * 300], "title": ["T"]})

    frame = frames.prepared_episodes(table)

    assert frame["text_chars"].tolist() == [5_000], "characters, not bytes"
    assert frame["description_chars"].tolist() == [300]
    assert frame["text"].str.len().tolist() == [200]
