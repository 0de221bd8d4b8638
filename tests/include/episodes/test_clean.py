"""Cleaning: markup goes, what people wrote stays, and nothing is lost or said twice."""

from __future__ import annotations

import time

import pytest

from include.episodes.clean import MAX_LINE_CHARS, REPEAT_CHARS, clean_description, clean_line

LONG = "This line is long enough to be a repeat"


def clean(raw: str, *, title: str = "", max_chars: int = 20_000) -> str:
    return clean_description(raw, title=title, max_chars=max_chars).text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("<p>one</p><p>two</p>", "one two"),
        ("one<br>two<br/>three<BR />four", "one two three four"),
        ("<ul><li>one</li><li>two</li></ul>", "one two"),
        ("<table><tr><td>one</td><td>two</td></tr></table>", "one two"),
        ("<DIV CLASS='x'>one</DIV>two", "one two"),
        ("<h2>Links</h2>one", "Links one"),
        ("<b>f</b>oo <em>bar</em>", "foo bar"),
        ('<a href="https://x.org/?a=1&amp;b=2">the site</a>!', "the site!"),
        ("a<script>alert('<p>x</p>')</script>b<style>p {color: red}</style>c", "abc"),
        ("<!--[if gte mso 9]><xml><w:View>Normal</w:View></xml><![endif]-->text", "text"),
        ("<xml><o:p>Normal 0</o:p></xml>text", "text"),
        ('<p>text</p><img src="http://x.org/1.gif" alt="" height="1">', "text"),
        ("<p>text <span", "text <span"),
        ('<p>text <a href="http://x.o', "text"),
        ("<p>text</", "text"),
        ("<p>a < b and I <3 you</p>", "a < b and I <3 you"),
        ("<p>an <unknown> word</p>", "an <unknown> word"),
        ("<p>is x <y</p>", "is x <y"),
        ("<html><head><title>t</title></head><body>text</body></html>", "text"),
    ],
)
def test_html_becomes_text(raw: str, text: str) -> None:
    assert clean(raw) == text


@pytest.mark.parametrize(
    "text",
    [
        "3 < 4 and 5 > 4",
        "I <3 you, I </3 you",
        "a<b, c>d",
        "x <y",
        "<someone@example.org> wrote to <https://example.org/a?b=c&d=e>",
        "AT&T, Q&A & R&B; copy&paste",
        "use the <plaintext> and <marquee2> names",
        "👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️ 1️⃣",
        "می‌خواهم",
        "क्‍ष हिन्दी",
        "日本語のポッドキャスト。中文，한국어",
        "العربية עברית ไทย ქართული",
        "naïve café Ångström",
    ],
)
def test_plain_text_of_every_script_survives(text: str) -> None:
    assert clean(text) == text
    assert clean_line(text) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Q&amp;A &#39;24 &#x1F3A7; &hellip;", "Q&A '24 🎧 …"),
        ("Q&amp;amp;A it&amp;#39;s", "Q&A it's"),
        ("<p>Q&amp;amp;A&amp;nbsp;x</p>", "Q&A x"),
        ("&lt;p&gt;one&lt;/p&gt;&lt;p&gt;two&lt;/p&gt;", "one two"),
        ("3 &lt; 4", "3 < 4"),
        ("a&nbsp;b&copy=c", "a b&copy=c"),
        ("&copy 2017 caf&eacute, it&#8217s &#x27so&#x27", "© 2017 café, it’s 'so'"),
        ("Q&amp;amp;amp;A it&amp;amp;#39;s", "Q&A it's"),
        ("<p>Q&amp;amp;amp;A</p>", "Q&A"),
        ("&amp;lt;p&amp;gt;one&amp;lt;/p&amp;gt;&amp;lt;p&amp;gt;two&amp;lt;/p&amp;gt;", "one two"),
        ("<p>the &lt;b&gt; tag</p>", "the <b> tag"),
        ("a&#0;b", "a\ufffdb"),
    ],
)
def test_entities_are_decoded_however_often_they_were_escaped(raw: str, text: str) -> None:
    assert clean(raw) == text
    assert clean_line(raw) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("<![CDATA[hello]]>", "hello"),
        ("<![CDATA[<p>hello &amp; bye</p>]]>", "hello & bye"),
        ("<p><![CDATA[3 < 4]]></p>", "3 < 4"),
        ("&lt;![CDATA[hello]]&gt;", "hello"),
        ("<![CDATA[<![CDATA[hello]]>]]>", "hello"),
        ("<![cdata[hello", "hello"),
        ("a[[0]]> b", "a[[0]]> b"),
        ("<![if !mso]>hello<![endif]>", "hello"),
    ],
)
def test_what_stands_in_cdata_is_text(raw: str, text: str) -> None:
    assert clean(raw) == text
    assert clean_line(raw) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Itâ€™s cafÃ©", "It’s café"),
        ("It’s café, cafÃ© et dâ€™autres", "It’s café, café et d’autres"),
        ("<p>It&acirc;&euro;&trade;s</p>", "It’s"),
        ("Itâ\x80\x99s", "It’s"),
        ("Ãœber SÃ£o Paulo", "Über São Paulo"),
        ("Ã&nbsp; propos", "à propos"),
        ("Ã¢â‚¬â„¢", "’"),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚ ðŸ˜€", "Привет 😀"),
    ],
)
def test_what_was_decoded_wrongly_is_read_anew(raw: str, text: str) -> None:
    assert clean(raw) == text
    assert clean_line(raw) == text


@pytest.mark.parametrize(
    "text",
    ["Spaß“ und groß – à «propos»", "voilà ! café” l’été… É…", "SÃO PAULO", "NAÏVE… Â", "Île-de-France, ÉTÉ® 10 €"],
)
def test_what_was_decoded_rightly_stays(text: str) -> None:
    assert clean(text) == text
    assert clean_line(text) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("  a \t\r\n b\u00a0\u3000c\u2028d ", "a b c d"),
        ("a\x00b\x07c\x1fd\x85e\x9ff", "a b c d e f"),
        ("<p>a\x00b</p>", "a b"),
        ("z\u200bero\ufeff wi\u00addth\u202e\u200f", "zero width"),
        ("\u200d \u200c x\u200d", "x"),
        ("cafe\u0301", "café"),
        ("", ""),
        (" \u200b\u00a0<p> &nbsp;</p>", ""),
        ("lone \ud800 surrogate", "lone surrogate"),
    ],
)
def test_white_space_and_invisible_characters_go(raw: str, text: str) -> None:
    assert clean(raw) == text
    assert clean_line(raw) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (f"{LONG}\nx\n{LONG}", f"{LONG} x"),
        (f"<p>{LONG}</p><p>{LONG}</p>", LONG),
        (f"{LONG}. And more. {LONG}. End", f"{LONG}. And more. End"),
        (f"{LONG}! {LONG}?", f"{LONG}! {LONG}?"),
        ("Yes. No. Yes.\nLinks:\nLinks:", "Yes. No. Yes. Links: Links:"),
        (
            "これはとても長い文章なので繰り返しとみなされます。次。これはとても長い文章なので繰り返しとみなされます。",
            "これはとても長い文章なので繰り返しとみなされます。次。",
        ),
        ("https://example.org/a-long-path-here.html?x https://example.org/a-long-path-here.html?y",) * 2,
    ],
)
def test_long_repeats_are_kept_once(raw: str, text: str) -> None:
    assert len(LONG) >= REPEAT_CHARS
    assert clean(raw) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("The Title\nWhat it is about", "What it is about"),
        ("<h1>The Title</h1><p>The Title</p><p>What it is about</p>", "What it is about"),
        ("The Title: what it is about", "what it is about"),
        ("The Title. The Title. Text", "Text"),
        ("The Title is what it is about", "The Title is what it is about"),
        ("The Titles\nText", "The Titles Text"),
        ("The Title", "The Title"),
        ("The Title.\n", "The Title."),
        ("the title\nText", "the title Text"),
    ],
)
def test_a_title_used_as_heading_is_left_out_of_the_description(raw: str, text: str) -> None:
    assert clean(raw, title="The Title") == text


def test_a_long_text_is_cut_at_a_word() -> None:
    assert clean_description("one two three", title="", max_chars=10) == ("one two", True)
    assert clean_description("one two three", title="", max_chars=7) == ("one two", True)
    assert clean_description("one two three", title="", max_chars=13) == ("one two three", False)
    assert clean_description("漢字" * 100, title="", max_chars=10) == ("漢字" * 5, True)


@pytest.mark.parametrize(
    "piece",
    ["<p>", "<", "&amp;", "<a ", "<!--", ". ", "a\n", "&lt;", "\u200d", "<b>", "\u0301", '<a href="', "â€™", "&copy"],
)
def test_a_hostile_field_of_5_mb_takes_no_time(piece: str) -> None:
    started = time.process_time()
    clean(piece * (5_000_000 // len(piece)), title="a")
    clean_line(piece * 10_000)
    assert time.process_time() - started < 3


@pytest.mark.parametrize("raw", ["<p>a &amp;amp; b</p>\n\nLinks", f"{LONG}. {LONG}. 3 < 4", "日本。 <3 &copy;"])
def test_cleaning_twice_changes_nothing(raw: str) -> None:
    assert clean(clean(raw)) == clean(raw)


def test_a_title_that_is_a_whole_page_is_cut_at_a_word() -> None:
    title = clean_line("word " * 100_000)

    assert len(title) <= MAX_LINE_CHARS
    assert title.endswith(" word")
    assert len(clean_line("<b>" + "<i></i>" * 100_000 + "word")) <= MAX_LINE_CHARS
