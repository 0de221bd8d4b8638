from __future__ import annotations

import pytest
from markupsafe import Markup

from include.search.folding import visible
from include.search.http.shown import LONG, audio, excerpt, language_code, length, marked


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("Eating well", "eat better", "<mark>Eating</mark> well"),
        ("The wells of the well", "well", "The <mark>wells</mark> of the <mark>well</mark>"),
        ("A café, a Cafe", "CAFÉ", "A <mark>café</mark>, a <mark>Cafe</mark>"),
        ("Swell", "well", "Swell"),
        ("What is the moon's orbit?", "what is the moon", "What is the <mark>moon&#39;s</mark> orbit?"),
        ("The Who", "the who", "<mark>The</mark> <mark>Who</mark>"),
        ("The women’s hour", "women's", "The <mark>women’s</mark> hour"),
        ("The women’s hour", "women", "The <mark>women’s</mark> hour"),
        ("Don't panic", "don’t", "<mark>Don&#39;t</mark> panic"),
        ("Straße, İstanbul", "strasse istanbul", "<mark>Straße</mark>, <mark>İstanbul</mark>"),
        ("2017_12_01_whales", "whales", "2017_12_01_<mark>whales</mark>"),
        ("Blue whales", "2017_whales", "Blue <mark>whales</mark>"),
        ("日本の番組です", "番組", "日本の<mark>番組</mark>です"),
        ("<b>moon</b> & moon", "moon", "&lt;b&gt;<mark>moon</mark>&lt;/b&gt; &amp; <mark>moon</mark>"),
        ("a mark", "</mark><script>", "a <mark>mark</mark>"),
        ("", "moon", ""),
        ("moon", "", "moon"),
    ],
)
def test_words_are_marked_in_their_forms_and_all_else_is_escaped(text: str, query: str, expected: str) -> None:
    assert marked(text, query) == Markup(expected)


def test_the_excerpt_is_the_first_of_the_sentences_that_answer_best() -> None:
    text = "Welcome back to another week! We eat soup. Then we eat better soup during winter. Eat better."
    assert excerpt(text, "eat better in winter") == "… Then we eat better soup during winter. Eat better."
    assert excerpt("One. Two.", "nothing of it") == "One. Two."
    assert excerpt(None, "moon") == excerpt(" \n ", "moon") == ""


def test_a_long_sentence_is_cut_around_what_was_found() -> None:
    text = "word " * 300 + "moon " + "word " * 300
    shown = excerpt(text, "moon")
    assert "moon" in shown
    assert len(shown) <= LONG + 4
    assert shown.startswith("… word")
    assert shown.endswith("word …")
    unspaced = excerpt("x" * 5_000, "moon")
    assert len(unspaced) <= LONG + 4


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, ""),
        (0, ""),
        (-5, ""),
        (48, "48 s"),
        (60, "1 min"),
        (2_549, "42 min"),
        (3_599, "1 h"),
        (3_900, "1 h 5 min"),
    ],
)
def test_lengths(seconds: int | None, expected: str) -> None:
    assert length(seconds) == expected


@pytest.mark.parametrize(
    "address",
    [None, "", "javascript:alert(1)", "JavaScript://x/%0aalert(1)", "data:audio/mp3;base64,AA", "file:///etc/passwd",
     "//cdn.example/a.mp3", "a.mp3", "http://", "http://[", "ftp://cdn.example/a.mp3", "\x01javascript:alert(1)"],
)  # fmt: skip
def test_only_addresses_of_the_web_are_played(address: str | None) -> None:
    assert audio(address) is None


def test_addresses_of_the_web() -> None:
    assert audio(" https://cdn.example/a.mp3?x=1&y=2 ") == "https://cdn.example/a.mp3?x=1&y=2"
    assert audio("HTTP://cdn.example/a.mp3") == "HTTP://cdn.example/a.mp3"


@pytest.mark.parametrize(
    ("language", "code"),
    [("English", "en"), ("german", "de"), ("en_US", "en-US"), ("pt-br", "pt-br"), ("Klingonese", None), (None, None)],
)
def test_languages(language: str | None, code: str | None) -> None:
    assert language_code(language) == code


def test_what_is_no_sign_is_left_out() -> None:
    assert visible("a\x00b\ud800c\n\td") == "abc\n\td"
