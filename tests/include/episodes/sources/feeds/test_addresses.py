from __future__ import annotations

from pathlib import Path

import pytest

from include.episodes.sources.feeds.addresses import (
    MAX_LIST_BYTES,
    FeedListError,
    check_address,
    read_list,
    shown,
)
from include.episodes.sources.feeds.failure import FeedError, Reason

OPML = """<?xml version="1.0" encoding="UTF-8"?>
<opml version="2.0"><head><title>Mine</title></head><body>
<outline text="News"><outline type="rss" text="One" title="Show one" xmlUrl="https://one.example/feed"/></outline>
<outline type="rss" text="Two" XMLURL="http://two.example/rss?id=1&amp;k=2"/>
<outline text="A folder without an address"/>
</body></opml>"""


def test_a_text_list_is_one_address_a_line(feed_list: Path) -> None:
    feed_list.write_text("\ufeff# mine\n\n https://one.example/feed \r\nhttp://two.example/rss\n", encoding="utf-8")
    feeds = read_list(feed_list).feeds
    assert [feed.address for feed in feeds] == ["https://one.example/feed", "http://two.example/rss"]


def test_a_comment_may_stand_behind_an_address(feed_list: Path) -> None:
    feed_list.write_text("https://one.example/feed # one\nhttps://two.example/\t# two\nhttps://three.example/#3\n")
    feeds = read_list(feed_list).feeds
    assert [feed.address for feed in feeds] == [
        "https://one.example/feed",
        "https://two.example/",
        "https://three.example/#3",
    ]


def test_an_opml_list_is_read_with_its_folders_and_titles(feed_list: Path) -> None:
    feed_list.write_text(OPML, encoding="utf-8")
    assert [(feed.address, feed.title) for feed in read_list(feed_list).feeds] == [
        ("https://one.example/feed", "Show one"),
        ("http://two.example/rss?id=1&k=2", "Two"),
    ]


def test_a_feed_that_is_listed_twice_is_asked_once(feed_list: Path) -> None:
    feed_list.write_text("https://one.example/feed\nhttp://ONE.example/feed/\nhttps://one.example:443/feed\n")
    feeds = read_list(feed_list)
    assert [feed.address for feed in feeds.feeds] == ["https://one.example/feed"]
    assert feeds.repeated == 2


def test_an_entry_that_is_no_address_is_put_aside(feed_list: Path) -> None:
    feed_list.write_text("ftp://one.example/feed\nnonsense\nhttp://[::1\nhttps://good.example/\n")
    feeds = read_list(feed_list)
    assert [feed.address for feed in feeds.feeds] == ["https://good.example/"]
    assert [address for address, _ in feeds.refused] == ["ftp://one.example/feed", "nonsense", "http://[::1"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "lists no feeds"),
        (b"# nothing yet\n", "lists no feeds"),
        (b"one.example/feed\n", "one.example/feed: not an http or https address"),
        (b"https://me:s3cret@[::1/?key=s3cret\n", "https://\\[::1/\\?…: "),
        (b"<opml><body/></opml>", "lists no feeds"),
        (b"<opml><body>", "neither OPML nor text"),
        (b"https://one.example/\xff\xfe", "neither OPML nor text"),
        (OPML.replace("<opml", '<!DOCTYPE x [<!ENTITY a "b">]><opml').encode(), "entities"),
        (b"x" * (MAX_LIST_BYTES + 1), "too large"),
    ],
)
def test_a_list_that_cannot_be_used_says_so(feed_list: Path, content: bytes, complaint: str) -> None:
    feed_list.write_bytes(content)
    with pytest.raises(FeedListError, match=complaint):
        read_list(feed_list)


@pytest.mark.parametrize("name", ["missing.opml", "."])
def test_a_list_that_is_not_there_says_what_to_set(tmp_path: Path, name: str) -> None:
    with pytest.raises(FeedListError, match="PODSEARCH_FEEDS"):
        read_list(tmp_path / name)


def test_a_name_that_cannot_be_decoded_costs_the_list_one_entry(tmp_path: Path) -> None:
    (tmp_path / "feeds.txt").write_text("https://xn--a-.example/feed\nhttps://good.example/feed\n")
    found = read_list(tmp_path / "feeds.txt")
    assert [feed.address for feed in found.feeds] == ["https://good.example/feed"]
    assert [address for address, _ in found.refused] == ["https://xn--a-.example/feed"]


@pytest.mark.parametrize(
    "address",
    ["", "//x.example", "javascript:alert(1)", "https://", "https://xn--.example/", "https://x.example/" + "a" * 2_000],
)
def test_what_is_no_web_address_is_refused(address: str) -> None:
    with pytest.raises(FeedError) as caught:
        check_address(address)
    assert caught.value.reason is Reason.BAD_ADDRESS


def test_an_address_is_shown_without_its_secrets() -> None:
    assert shown("https://me:s3cret@a.example:8443/f?token=s3cret") == "https://a.example:8443/f?…"
    assert "\n" not in shown("http://[::1\nnext line")
