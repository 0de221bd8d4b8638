from __future__ import annotations

import pytest

from include.queries.scripts import fits, script_shares


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        ("Why we sleep", {"LATIN"}),
        ("Ｆｕｌｌ ｗｉｄｔｈ", {"LATIN"}),
        ("café naïve Łódź", {"LATIN"}),
        ("Привет", {"CYRILLIC"}),
        ("καλημέρα", {"GREEK"}),
        ("שלום", {"HEBREW"}),
        ("مرحبا", {"ARABIC"}),
        ("नमस्ते", {"DEVANAGARI"}),
        ("สวัสดี", {"THAI"}),
        ("안녕하세요", {"HANGUL"}),
        ("東京ひらがなカタカナー々", {"HAN"}),
        ("გამარჯობა", {"GEORGIAN"}),
        ("", set()),
        ("12:30 – 🎉 \u200b ʰ", {"LATIN"}),  # a raised h is an h
        ("12:30 – 🎉", set()),
    ],
)
def test_scripts_of_letters(text: str, scripts: set[str]) -> None:
    assert set(script_shares(text)) == scripts


def test_shares_are_of_letters_alone() -> None:
    assert script_shares("аб, cdef 123!") == {"LATIN": pytest.approx(4 / 6), "CYRILLIC": pytest.approx(2 / 6)}


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ({"LATIN": 1.0}, {"CYRILLIC": 0.9, "LATIN": 0.1}, False),
        ({"LATIN": 1.0}, {"CYRILLIC": 0.8, "LATIN": 0.2}, True),
        ({"LATIN": 0.6, "CYRILLIC": 0.4}, {"CYRILLIC": 1.0}, False),
        ({"LATIN": 0.4, "CYRILLIC": 0.6}, {"CYRILLIC": 1.0}, True),
        ({}, {"CYRILLIC": 1.0}, True),
        ({"LATIN": 1.0}, {}, True),
    ],
)
def test_half_of_a_query_is_in_scripts_of_the_text(
    query: dict[str, float], text: dict[str, float], expected: bool
) -> None:
    assert fits(query, text) is expected
