"""Cleaning many descriptions at once gives what cleaning each of them gives, whatever is in them."""

from __future__ import annotations

import html
import random
import sys
import unicodedata

import polars as pl
import pyarrow as pa
import pytest

from include.episodes import clean_batch
from include.episodes.clean import clean_description
from include.episodes.clean_batch import ODD, USUAL, clean_descriptions

SENTENCE = "A sentence that is long enough to be found again"
PIECES = (
    *(
        "x",
        "word. ",
        "word.  ",
        "é",
        "日本。",
        "...",
        "…",
        "! ",
        " ",
        "  ",
        "\t",
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        "\x0c",
        "\x00",
    ),
    *(f"{SENTENCE}. ", f"{SENTENCE}!", f" {SENTENCE}", f"{SENTENCE}\n", "The Title", "The Title: ", "The Title\n", ">"),
    *("\xa0", "\u3000", "\u2028", "\x1c", "\u200b", "\u200d", "e\u0301", "\u1100\u1161", "\u212b", "❤️", "\ufffd"),
    *("<", "</", "<!--", "-->", "<3", "=", '"', "'", "<ſpan>", "<p\xa0x>", "<script>x</script>", "<table><tr><td>"),
    *(
        "&",
        "&amp;",
        "&amp;amp;",
        "&amp;lt;",
        "&lt;",
        "&lt;p&gt;",
        "&#39;",
        "&#7;",
        "&nbsp;",
        "&copy",
        "&eacute;",
        "& b",
        "&copy 2017",
        "&#8217s",
        "&amp;amp;amp;",
        "&amp;lt;p&amp;gt;",
        "<![CDATA[",
        "]]>",
        "Itâ€™s cafÃ©",
        "Ã",
        "â",
        "â\x80\x99",
        "Ã&nbsp;",
        "â&ldquo;<b>”",
        "Spaß“",
    ),
)
TAGS = [
    "p",
    "br",
    "div",
    "li",
    "ul",
    "h1",
    "hr",
    "img",
    "a",
    "span",
    "b",
    "i",
    "u",
    "strong",
    "em",
    "font",
    "P",
    "BR",
    "q",
    "s",
]


def same(raw: list[str], titles: list[str], *, max_chars: int = 20_000) -> None:
    texts, cut = clean_descriptions(pa.array(raw, pa.string()), titles, max_chars=max_chars)
    expected = [
        clean_description(one, title=title, max_chars=max_chars) for one, title in zip(raw, titles, strict=True)
    ]
    found = zip(raw, texts.to_pylist(), strict=True)
    wrong = [(one, text, right) for (one, text), right in zip(found, expected, strict=True) if text != right.text]
    assert wrong == []
    assert cut == [position for position, right in enumerate(expected) if right.cut]
    assert texts.type == pa.string()


@pytest.mark.parametrize("seed", range(4))
def test_random_mixtures_of_text_and_markup(seed: int) -> None:
    rng = random.Random(seed)

    def tag() -> str:
        attribute = rng.choice(
            ("", "", " a", " a=x", ' href="y > z"', " b='q'", ' c="', " d=' e", "/", " /", ' f = "g"')
        )
        return f"<{rng.choice(('', '/'))}{rng.choice(TAGS)}{attribute}{rng.choice(('>', '>', '>', '>', ''))}"

    raw = []
    for _ in range(2_000):
        markup = rng.random()
        raw.append("".join(tag() if rng.random() < markup else rng.choice(PIECES) for _ in range(rng.randint(0, 14))))
    same(raw, [rng.choice(("", "x", "The Title")) for _ in raw])


def test_each_piece_alone_and_beside_text() -> None:
    raw = [form.format(piece) for piece in PIECES for form in ("{}", "a{}b", "<p>{}</p>", "{0}{0}", "<b>a</b> {} c")]
    same(raw, ["The Title"] * len(raw))


def test_a_long_text_is_cut_as_it_would_be_alone() -> None:
    raw = ["word " * 30, "<p>" * 40 + "word", "é" * 60, "word", ""]
    same(raw, [""] * 5, max_chars=100)


def test_usual_references_mean_what_html_says() -> None:
    assert {reference: html.unescape(reference) for reference in USUAL} == USUAL


def test_half_tags_do_not_join_to_one() -> None:
    same(["<a<br>b>text", "<p <b>x>text", "<<br>b>text", "<b\n<br>>text"], [""] * 4)


def test_nothing_is_nothing() -> None:
    texts, cut = clean_descriptions(pa.array([], pa.string()), [], max_chars=100)
    assert (texts.to_pylist(), cut) == ([], [])


def test_usual_descriptions_are_done_in_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The point of it: with most descriptions done one by one, preparation would take twice as long."""
    monkeypatch.setattr(clean_batch, "clean_description", None)
    raw = [
        f'<p>Talk {n} &amp; more.<br /><a href="https://example.org/{n}">“Link”</a></p>\n<p>Näher…</p>'
        for n in range(9)
    ]
    texts, _ = clean_descriptions(pa.array(raw, pa.string()), ["Title"] * 9, max_chars=1_000)
    assert texts[3].as_py() == "Talk 3 & more. “Link” Näher…"


def test_every_character_that_may_change_is_odd() -> None:
    """Of all of Unicode: what normalises to something else, combines with a neighbour, is blank or a control."""
    followers = set()
    odd_ones = []
    for code in (*range(0xD800), *range(0xE000, sys.maxunicode + 1)):
        character = chr(code)
        parts = unicodedata.decomposition(character).split()
        if len(parts) == 2 and "<" not in parts[0]:
            followers.add(chr(int(parts[1], 16)))
        changes = unicodedata.normalize("NFC", character) != character or unicodedata.combining(character)
        blank = (character.isspace() and character not in " \n\t\r\xa0") or unicodedata.category(character) == "Cc"
        if changes or (blank and character not in "\n\t\r"):
            odd_ones.append(character)
    odd_ones += followers
    odd_ones += [chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))]  # Hangul, composed by rule
    found = pl.Series(odd_ones).str.contains(ODD)
    missed = [character for character, odd in zip(odd_ones, found.to_list(), strict=True) if not odd]
    assert [f"U+{ord(character):04X}" for character in missed] == []
