from __future__ import annotations

from typing import Any

import pytest

from include.episodes.columns import COLUMNS
from include.episodes.sources.feeds.failure import FeedError, Reason
from include.episodes.sources.feeds.ids import episode_id
from include.episodes.sources.feeds.parse import MAX_TEXT, Parsed, parse_feed
from tests.standins.feeds import Item, rss

FEED = "9b024349ccf05f69a6096b82873eab3c"
ADDRESS = "https://show.example/feeds/main.xml"


def read(body: bytes, charset: str = "") -> Parsed:
    return parse_feed(body, feed_id=FEED, address=ADDRESS, charset=charset)


def only(item: Item) -> dict[str, str]:
    (episode,) = read(rss([item])).episodes.values()
    return episode


def refused(body: bytes) -> FeedError:
    with pytest.raises(FeedError) as caught:
        read(body)
    return caught.value


def test_a_feed_becomes_rows_in_the_datasets_columns() -> None:
    extra = (
        '<itunes:author>Ada</itunes:author><itunes:image href="/cover.jpg"/>'
        "<itunes:keywords>free, <![CDATA[words]]></itunes:keywords>"
        '<itunes:category text="Sports &amp; Recreation"><itunes:category text="Amateur"/></itunes:category>'
    )
    parsed = read(rss([Item(title="Fish & chips", guid="g-1")], title="A show", extra=extra))
    assert parsed.show == {
        "title": "A show",
        "image": "https://show.example/cover.jpg",
        "description": "All about it",
        "language": "English",
        "categories": "Sports & Recreation | Amateur",
        "website": "https://show.example/",
        "author": "Ada",
        "itunes_id": "",
    }
    assert parsed.episodes == {
        episode_id(FEED, "g-1"): {
            "title": "Fish & chips",
            "audio": "https://cdn.example/g-1.mp3",
            "audio_length": "3723",
            "pub_date": "2023-11-06 15:00:00+00",
            "description": "What it is about",
        }
    }
    assert {"uuid", *parsed.show} == set(COLUMNS["podcasts"])
    assert {"uuid", "podcast_uuid", *only(Item())} == set(COLUMNS["episodes"])
    assert (parsed.repeated, parsed.flaw) == (0, "")


def test_an_atom_feed_is_read_too() -> None:
    parsed = read(
        b'<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Notes</title><subtitle>About</subtitle>'
        b"<entry><id>urn:1</id><title>First</title><updated>2023-11-06T10:00:00Z</updated><summary>Short</summary>"
        b'<link rel="enclosure" type="audio/mpeg" href="../1.mp3"/></entry></feed>'
    )
    assert parsed.show["title"] == "Notes"
    assert parsed.episodes[episode_id(FEED, "urn:1")] == {
        "title": "First",
        "audio": "https://show.example/1.mp3",
        "audio_length": "",
        "pub_date": "2023-11-06 10:00:00+00",
        "description": "Short",
    }


@pytest.mark.parametrize("encoded_first", [True, False])
def test_the_longest_description_is_taken_with_its_html(encoded_first: bool) -> None:
    notes = "<content:encoded><![CDATA[<p>All of the <b>notes</b>, at length</p>]]></content:encoded>"
    summary = "<itunes:summary>In short</itunes:summary>"
    extra = notes + summary if encoded_first else summary + notes
    assert only(Item(description="A line", extra=extra))["description"] == "<p>All of the <b>notes</b>, at length</p>"


def test_scripts_in_a_description_are_left_to_preparation() -> None:
    raw = "<script>alert(1)</script><a href='/x'>x</a> and more"
    assert only(Item(description=raw))["description"] == raw


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("3723", "3723"),
        ("62:03", "3723"),
        ("1:02:03", "3723"),
        ("1:02:03.5", "3723"),
        ("", ""),
        ("long", "long"),
        ("PT1H2M3S", "3723"),
    ],
)
def test_durations(given: str, seconds: str) -> None:
    assert only(Item(duration=given))["audio_length"] == seconds


@pytest.mark.parametrize(
    ("given", "date"),
    [
        ("Mon, 06 Nov 2023 10:00:00 GMT", "2023-11-06 10:00:00+00"),
        ("2023-11-06T10:00:00+02:00", "2023-11-06 08:00:00+00"),
        ("", ""),
        ("Tue, 2 May 2017 9:05 PM EST", "2017-05-03 02:05:00+00"),
        ("1493715900", "2017-05-02 09:05:00+00"),
        ("Mon, 02 May 1960 09:05:01 +0100", "1960-05-02 08:05:01+00"),
        ("Di, 02 Mai 2017 09:05:00 +0200", "Di, 02 Mai 2017 09:05:00 +0200"),
        ("Tue, 02 May 2017 25:61:00 GMT", "Tue, 02 May 2017 25:61:00 GMT"),
        ("2017/05/02", "2017/05/02"),
        ("Sat, 31 Feb 2017 10:00:00 GMT", "Sat, 31 Feb 2017 10:00:00 GMT"),
        ("the day before yesterday", "the day before yesterday"),
    ],
)
def test_dates(given: str, date: str) -> None:
    assert only(Item(date=given))["pub_date"] == date


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("en", "English"),
        ("de-DE", "German"),
        ("PT_br", "Portuguese"),
        ("nb-no", "Norwegian"),
        ("tlh-x", "Klingon"),
        ("qq", ""),
    ],
)
def test_languages_get_the_datasets_names(code: str, name: str) -> None:
    body = rss([Item()]).replace(b"<language>en-us<", f"<language>{code}<".encode())
    assert read(body).show["language"] == name


@pytest.mark.parametrize("audio", ["javascript:alert(1)", "file:///etc/passwd", "http://[::1/x.mp3"])
def test_a_link_that_is_no_web_address_is_dropped(audio: str) -> None:
    assert only(Item(guid="1", audio=audio))["audio"] == ""


def test_audio_goes_before_other_enclosures() -> None:
    extra = '<enclosure url="/real.mp3" type="audio/mpeg" length="1"/>'
    item = Item(guid="1", audio="", extra='<enclosure url="/cover.pdf" type="application/pdf" length="1"/>' + extra)
    assert only(item)["audio"] == "https://show.example/real.mp3"


def test_a_picture_makes_no_episode_of_a_post() -> None:
    picture = '<enclosure url="https://cdn.example/1.jpg" type="image/jpeg" length="1"/>'
    parsed = read(rss([Item("Heard", guid="1"), Item("Read", guid="2", audio="", extra=picture)]))
    assert [episode["title"] for episode in parsed.episodes.values()] == ["Heard"]
    assert parsed.no_audio == 1


def test_the_scheme_of_an_address_may_be_in_capitals() -> None:
    assert only(Item(audio="HTTP://cdn.example/A.mp3"))["audio"].lower() == "http://cdn.example/a.mp3"


def test_what_stands_under_another_name_is_taken_where_the_usual_one_is_empty() -> None:
    extra = "<itunes:title>The owl</itunes:title><dc:date>2023-11-06T10:00:00Z</dc:date>"
    body = rss([Item(title="", date="", guid="1", extra=extra)])
    body = body.replace(b"<rss ", b'<rss xmlns:dc="http://purl.org/dc/elements/1.1/" ')
    for same in (body, body.replace(b"<title></title>", b""), body.replace(b"<pubDate></pubDate>", b"")):
        (episode,) = read(same).episodes.values()
        assert (episode["title"], episode["pub_date"]) == ("The owl", "2023-11-06 10:00:00+00")


def test_without_a_guid_the_enclosure_identifies() -> None:
    parsed = read(rss([Item(audio="https://cdn.example/1.mp3")]))
    assert set(parsed.episodes) == {episode_id(FEED, "https://cdn.example/1.mp3")}


def test_items_without_an_enclosure_are_posts() -> None:
    parsed = read(rss([Item("Heard", guid="1"), Item("Read", guid="2", audio=""), Item("Read, too", audio="")]))
    assert [episode["title"] for episode in parsed.episodes.values()] == ["Heard"]
    assert parsed.no_audio == 2
    posts = refused(rss([Item(guid="1", audio="")]))
    assert posts.reason is Reason.NO_ITEMS
    assert "posts" in posts.detail


TORN = b"<item><title>Torn</title><guid>t</guid><description><![CDATA[About owls"


def test_a_torn_item_is_left_out_and_those_around_it_are_not() -> None:
    """It was read without what follows, and would have replaced the whole one of the last poll."""
    whole = rss([Item("One", guid="1"), Item("Two", guid="2")])
    at_the_end = read(whole.replace(b"</channel>", TORN + b"</item></channel>"))
    assert [episode["title"] for episode in at_the_end.episodes.values()] == ["One", "Two"]
    assert at_the_end.torn == 1

    fine = b"<item><guid>3</guid><title><![CDATA[Three]]></title><enclosure url='https://x.example/3.mp3'/></item>"
    middle = whole.replace(b"<item>", TORN + b"</item><item>", 1).replace(b"</channel>", fine + b"</channel>")
    in_the_middle = read(middle)
    assert [episode["title"] for episode in in_the_middle.episodes.values()] == ["One", "Two", "Three"]
    assert in_the_middle.torn == 1


def test_a_description_about_feeds_is_not_torn() -> None:
    about = Item("One", guid="1", extra="<itunes:summary><![CDATA[Put it into <item> and </item>]]></itunes:summary>")
    parsed = read(rss([about]))
    assert (len(parsed.episodes), parsed.torn) == (1, 0)


def test_items_that_share_a_guid_but_neither_title_nor_enclosure_are_different_episodes() -> None:
    same = [
        Item("One", guid="s", audio="https://x.example/1.mp3"),
        Item("Two", guid="s", audio="https://x.example/2.mp3"),
    ]
    parsed = read(rss([*same, Item("Proper", guid="p")]))
    assert [episode["title"] for episode in parsed.episodes.values()] == ["One", "Two", "Proper"]
    assert parsed.repeated == 0
    assert list(parsed.episodes)[2] == episode_id(FEED, "p"), "ids of items with proper guids are what they were"
    assert set(read(rss(reversed(same))).episodes) == set(list(parsed.episodes)[:2]), "their order counts for nothing"


def test_an_episode_in_two_qualities_is_one() -> None:
    same = [
        Item("One", guid="s", audio="https://x.example/hi.mp3"),
        Item("One", guid="s", audio="https://x.example/lo.mp3"),
    ]
    parsed = read(rss(same))
    assert (set(parsed.episodes), parsed.repeated) == ({episode_id(FEED, "s")}, 1)


def test_a_guid_is_the_same_wherever_the_feed_moves() -> None:
    body = rss([Item(extra="<guid>1234</guid>")])  # isPermaLink is true by default, and hardly ever meant
    moved = parse_feed(body, feed_id=FEED, address="https://elsewhere.example/")
    assert set(read(body).episodes) == set(moved.episodes) == {episode_id(FEED, "1234")}


def test_of_items_with_one_guid_the_first_is_kept() -> None:
    parsed = read(rss([Item("New", guid="1"), Item("Old", guid="1"), Item("Other", guid="2")]))
    assert [episode["title"] for episode in parsed.episodes.values()] == ["New", "Other"]
    assert parsed.repeated == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.EMPTY),
        (b" \n", Reason.EMPTY),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", Reason.WEB_PAGE),
        (b'\n<?xml version="1.0"?><!-- x --><!DOCTYPE html PUBLIC "x"><html/>', Reason.WEB_PAGE),
        (b'{"error": "no"}', Reason.NOT_A_FEED),
        (b"plain text", Reason.NOT_A_FEED),
        (b"\x89PNG\r\n\x1a\n\x00\x00", Reason.NOT_A_FEED),
        (b'<?xml version="1.0"?><root/>', Reason.NOT_A_FEED),
        (rss([]), Reason.NO_ITEMS),
        (rss([Item(title="", audio="")]), Reason.NO_ITEMS),
        (rss([Item(guid="1"), Item(guid="2")])[:-80], Reason.CUT_SHORT),
    ],
)
def test_each_thing_that_is_no_feed_has_its_reason(body: bytes, reason: Reason) -> None:
    assert refused(body).reason is reason


def test_a_feed_that_is_not_quite_xml_is_repaired_and_says_so() -> None:
    parsed = read(rss([Item(guid="1")]).replace(b"What it is", b"Q & A&nbsp;on what it is"))
    (episode,) = parsed.episodes.values()
    assert episode["description"] == "Q & A\xa0on what it is about"
    assert "not well-formed" in parsed.flaw or "undefined entity" in parsed.flaw


@pytest.mark.parametrize("title", ["R&B and Q&A", "R&B;", "AT&T &copy=1 & more", "&", "&#x;", "<![CDATA[R&B <i>]]>"])
def test_an_ampersand_that_is_not_escaped_stays_what_it_is(title: str) -> None:
    audio = b"https://cdn.example/1.mp3?a=1&copy=2&b;"
    feed = rss([Item("TITLE", guid="1", audio="AUDIO")]).replace(b"TITLE", title.encode()).replace(b"AUDIO", audio)
    parsed = read(feed)
    (episode,) = parsed.episodes.values()
    assert episode["title"] == title.removeprefix("<![CDATA[").removesuffix("]]>")
    assert episode["audio"] == audio.decode()
    assert parsed.flaw


@pytest.mark.parametrize("declared", ["", "iso-8859-1", "utf-8", "no-such-encoding"])
@pytest.mark.parametrize("charset", ["", "iso-8859-1", "utf-8", "no-such-encoding"])
def test_latin_1_is_read_whatever_is_said_about_it(declared: str, charset: str) -> None:
    declaration = f'encoding="{declared}"' if declared else ""
    body = rss([Item(title="Café")]).decode().replace('encoding="UTF-8"', declaration).encode("iso-8859-1")
    (episode,) = read(body, charset).episodes.values()
    assert episode["title"] == "Café"


def test_a_servers_wrong_encoding_does_not_spoil_utf_8() -> None:
    (episode,) = read(rss([Item(title="Café 日本")]), "iso-8859-1").episodes.values()
    assert episode["title"] == "Café 日本"


def test_the_servers_encoding_counts_where_nothing_else_does() -> None:
    body = rss([Item(title="日本のラジオ")]).decode().replace(' encoding="UTF-8"', "").encode("shift_jis")
    (episode,) = read(body, "shift_jis").episodes.values()
    assert episode["title"] == "日本のラジオ"


def test_utf_16_is_read() -> None:
    body = rss([Item(title="Café")]).decode().replace("UTF-8", "UTF-16").encode("utf-16")
    (episode,) = read(body).episodes.values()
    assert episode["title"] == "Café"


def test_entities_are_not_expanded_and_files_not_read() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    declarations = f'<!DOCTYPE rss [<!ENTITY l0 "ha">{laughs}<!ENTITY file SYSTEM "file:///etc/passwd">]>'
    body = rss([Item(title="TITLE", guid="1")]).decode().replace("<rss", declarations + "<rss")
    parsed = read(body.replace("TITLE", "a&l11;&file;b").encode())
    assert len(str(parsed)) < 2_000
    assert "root:" not in str(parsed)


def test_what_no_file_can_hold_is_left_out() -> None:
    episode = only(Item(title="a&#0;\x01b"))  # neither is allowed in XML
    assert episode["title"] == "ab" or episode["title"] == "a&#0;b"
    assert len(only(Item(description="x" * (MAX_TEXT + 1)))["description"]) == MAX_TEXT


def test_a_mistake_within_the_parser_is_a_bad_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    def trip(*_args: Any, **_options: Any) -> None:
        raise KeyError("title")

    monkeypatch.setattr("feedparser.parse", trip)
    assert refused(rss([Item()])).reason is Reason.NOT_A_FEED
