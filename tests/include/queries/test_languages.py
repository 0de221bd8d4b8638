from __future__ import annotations

import pytest

from include.queries.languages import is_english


@pytest.mark.parametrize(
    ("language", "english"),
    [
        ("English", True),
        ("en", True),
        ("EN-us", True),
        ("en_GB", True),
        ("English (UK)", True),
        ("Englisch", False),
        ("enz", False),
        ("German", False),
        (None, True),
        ("", True),
    ],
)
def test_english_by_name_or_code(language: str | None, english: bool) -> None:
    assert is_english(language, {"LATIN": 1.0}) is english


def test_letters_tell_where_a_feed_says_english() -> None:
    assert not is_english("English", {"CYRILLIC": 0.9, "LATIN": 0.1})
