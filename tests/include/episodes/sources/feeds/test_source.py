from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from include.episodes.sources.contract import Source
from include.episodes.sources.feeds import poll as poll_module
from include.episodes.sources.feeds.addresses import FeedListError
from include.episodes.sources.feeds.client import PollLimits
from include.episodes.sources.feeds.dataset import write_dataset
from include.episodes.sources.feeds.failure import Reason
from include.episodes.sources.feeds.parsers import FeedParsers
from include.episodes.sources.feeds.report import Report
from include.episodes.sources.feeds.source import FeedsSource
from include.episodes.sources.files import DatasetError
from include.errors import RetryLaterError
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import prepare_in_memory
from tests.standins.feeds import FeedsStandIn, Item, Page, cut, feed, in_turn, redirect, rss, status

LIMITS = PollLimits(connections=4, seconds=2.0, max_bytes=2**20)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_module, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(poll_module, "FeedParsers", partial(FeedParsers, processes=1))


Listed = Callable[..., FeedsSource]


@pytest.fixture
def listed(store: ArtifactStore, feed_list: Path, server: FeedsStandIn) -> Listed:
    """A source whose list names these pages of the stand-in (or whole addresses)."""

    def make(*pages: str, allow_private: bool = True) -> FeedsSource:
        addresses = [page if "://" in page else server.url(page) for page in pages]
        feed_list.write_text("\n".join(addresses), encoding="utf-8")
        return FeedsSource(store, feed_list, limits=LIMITS, allow_private=allow_private)

    return make


def test_it_is_a_source(store: ArtifactStore, feed_list: Path) -> None:
    source: Source = FeedsSource(store, feed_list)  # held by mypy
    assert source.description == f"the feeds listed in {feed_list}"
    source.published("any")


def report(source: FeedsSource) -> Report:
    return Report.model_validate(source.store.read_json("feeds", "report.json"))


def titles(source: FeedsSource, version: str) -> set[str]:
    """Titles of the episodes that preparation makes of a version: the dataset is read as Kaggle's is."""
    prepared = prepare_in_memory(source.fetch(version))
    assert not prepared.quarantined
    return set(prepared.episodes["title"].to_pylist())


def test_feeds_become_a_dataset_that_preparation_reads(server: FeedsStandIn, listed: Listed) -> None:
    html = '<p>Line, with "quotes"</p>\n<ul><li>and more\r\n</li></ul>'
    server.pages["/a"] = feed(rss([Item("One", "1", html), Item("Two", "2")], title="Show A"))
    server.pages["/b"] = feed(rss([Item("Three", "1")], title="Show B"), packed=True)
    source = listed("/a", "/b")

    version = source.latest_version()
    prepared = prepare_in_memory(source.fetch(version))

    rows = {row["title"]: row for row in prepared.episodes.to_pylist()}
    assert set(rows) == {"One", "Two", "Three"}
    assert rows["One"]["show_title"] == "Show A"
    assert rows["One"]["description"] == 'Line, with "quotes" and more'
    assert rows["One"]["duration_seconds"] == 3723
    assert rows["One"]["language"] == "English"
    assert str(rows["One"]["published_at"]) == "2023-11-06 15:00:00+00:00"
    assert not prepared.quarantined
    assert report(source).kinds == {"updated": 2, "unchanged": 0, "failed": 0, "waiting": 0, "gone": 0}


def test_a_world_that_does_not_change_keeps_its_version_and_is_not_sent_again(
    server: FeedsStandIn, listed: Listed
) -> None:
    server.pages["/a"] = feed(rss([Item(guid="1")]), etag='"1"')
    server.pages["/b"] = feed(rss([Item(guid="1")]))  # without validators, it is sent each time
    source = listed("/a", "/b")

    versions = {source.latest_version() for _ in range(3)}

    assert len(versions) == 1
    assert [seen.headers.get("if-none-match") for seen in server.asked("/a")] == [None, '"1"', '"1"']
    assert report(source).kinds["unchanged"] == 2


def test_new_episodes_come_in_edited_ones_change_and_older_ones_stay(server: FeedsStandIn, listed: Listed) -> None:
    first = rss([Item("Old", "1"), Item("Teh typo", "2")])
    server.pages["/a"] = in_turn(feed(first), feed(rss([Item("The typo", "2"), Item("New", "3")])))
    source = listed("/a")

    before = source.latest_version()
    after = source.latest_version()

    assert titles(source, before) == {"Old", "Teh typo"}
    assert titles(source, after) == {"Old", "The typo", "New"}
    assert (report(source).added, report(source).edited, report(source).episodes) == (1, 1, 3)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (status(404), Reason.NOT_FOUND),
        (status(500), Reason.SERVER_ERROR),
        (status(200, b"<!doctype html><html>Log in</html>"), Reason.WEB_PAGE),
        (status(200, b""), Reason.EMPTY),
        (status(304), Reason.SERVER_ERROR),
        (feed(rss([])), Reason.NO_ITEMS),
        (cut(rss([Item(guid="1")]), 200), Reason.CUT_SHORT),
    ],
)
def test_a_bad_feed_is_reported_and_the_others_come_in(
    server: FeedsStandIn, listed: Listed, page: Page, reason: Reason
) -> None:
    server.pages |= {"/bad": page, "/good": feed(rss([Item("Good", "1")]))}
    source = listed("/bad", "/good", "nonsense://x")

    version = source.latest_version()

    assert titles(source, version) == {"Good"}
    rows = {row.address: row.reason for row in report(source).rows}
    assert rows == {server.url("/bad"): reason, "nonsense://x": Reason.BAD_ADDRESS}
    assert report(source).reasons == {str(reason): 1, "bad_address": 1}


def test_a_feed_that_goes_bad_keeps_its_episodes_and_comes_back(server: FeedsStandIn, listed: Listed) -> None:
    good = rss([Item("Kept", "1")])
    server.pages["/a"] = in_turn(feed(good, etag='"1"'), status(404), status(404), feed(good, etag='"1"'))
    server.pages["/b"] = feed(rss([Item("Other", "1")]))
    source = listed("/a", "/b")

    versions = [source.latest_version() for _ in range(3)]
    row = report(source).rows[0]

    assert titles(source, versions[-1]) == {"Kept", "Other"}
    assert (row.reason, row.failures, row.days) == (Reason.NOT_FOUND, 2, 0)
    assert {*versions, source.latest_version()} == {versions[0]}
    assert not report(source).rows


def test_half_a_feed_does_not_spoil_what_is_known(server: FeedsStandIn, listed: Listed) -> None:
    whole = rss([Item("One", "1", "The whole of it"), Item("Two", "2", "The whole of it")])
    half = whole[: whole.rindex(b"whole of it")]
    broken = status(200, half, ETag='"2"')
    server.pages["/a"] = in_turn(feed(whole, etag='"1"'), broken, broken, feed(whole, etag='"1"'))
    server.pages["/b"] = feed(rss([Item("Other", "1")]))
    source = listed("/a", "/b")
    assert source.latest_version() == source.latest_version()
    assert report(source).reasons == {"cut_short": 1}
    source.latest_version()
    assert {seen.headers.get("if-none-match") for seen in server.asked("/a")} == {None, '"1"'}


def test_a_trouble_of_a_moment_is_overcome_in_the_same_poll(server: FeedsStandIn, listed: Listed) -> None:
    server.pages["/a"] = in_turn(status(502), feed(rss([Item("One", "1")])))
    source = listed("/a")
    assert titles(source, source.latest_version()) == {"One"}
    assert not report(source).rows


def test_a_feed_that_moved_for_good_is_asked_at_its_new_address_under_its_old_id(
    server: FeedsStandIn, listed: Listed
) -> None:
    server.pages |= {"/old": redirect("/new", 301), "/new": feed(rss([Item(guid="1")]), etag='"1"')}
    source = listed("/old")

    first = source.latest_version()
    assert "moved permanently" in report(source).rows[0].note
    assert source.latest_version() == first

    assert [seen.path for seen in server.requests] == ["/old", "/new", "/new"]
    assert server.requests[-1].headers["if-none-match"] == '"1"'


def test_a_move_that_was_a_mistake_is_forgotten(server: FeedsStandIn, listed: Listed) -> None:
    server.pages |= {
        "/old": in_turn(redirect("/new", 301), feed(rss([Item("Back", "2")]))),
        "/new": in_turn(feed(rss([Item("There", "1")])), status(404)),
        "/other": feed(rss([Item(guid="1")])),
    }
    source = listed("/old", "/other")
    for _ in range(3):
        version = source.latest_version()
    assert {"There", "Back"} < titles(source, version)


def test_a_feed_that_says_where_it_moved_is_asked_there_and_keeps_its_ids(server: FeedsStandIn, listed: Listed) -> None:
    moved = f"<itunes:new-feed-url>{server.url('/new')}</itunes:new-feed-url>"
    server.pages |= {
        "/old": feed(rss([Item("One", "1")], extra=moved)),
        "/new": feed(rss([Item("One, edited", "1"), Item("Two", "2")], extra=moved)),
    }
    source = listed("/old")
    first = source.latest_version()
    assert titles(source, first) == {"One"}
    for _ in range(2):
        version = source.latest_version()
    assert titles(source, version) == {"One, edited", "Two"}
    assert (len(server.asked("/old")), len(server.asked("/new"))) == (1, 2)


def test_a_feed_that_says_it_moved_to_nowhere_is_asked_where_it_was(server: FeedsStandIn, listed: Listed) -> None:
    moved = f"<itunes:new-feed-url>{server.url('/nowhere')}</itunes:new-feed-url>"
    server.pages["/old"] = in_turn(
        feed(rss([Item("One", "1")], extra=moved)), feed(rss([Item("One", "1"), Item("Two", "2")], extra=moved))
    )
    server.pages["/other"] = feed(rss([Item("Other", "1")]))
    source = listed("/old", "/other")
    for _ in range(3):
        version = source.latest_version()
    assert titles(source, version) == {"One", "Two", "Other"}


def test_a_feed_that_is_gone_is_not_asked_again_and_keeps_its_episodes(server: FeedsStandIn, listed: Listed) -> None:
    server.pages |= {"/a": in_turn(feed(rss([Item("Kept", "1")])), status(410)), "/b": feed(rss([Item("Other", "1")]))}
    source = listed("/a", "/b")

    versions = [source.latest_version() for _ in range(4)]

    assert len(server.asked("/a")) == 2
    assert titles(source, versions[-1]) == {"Kept", "Other"}
    assert report(source).kinds["gone"] == 1
    assert report(source).rows[0].reason is Reason.GONE


def test_a_server_that_asks_to_wait_is_left_alone_so_long(server: FeedsStandIn, listed: Listed) -> None:
    server.pages |= {"/a": status(429, Retry_After="3600"), "/b": feed(rss([Item(guid="1")]))}
    source = listed("/a", "/b")
    for _ in range(3):
        source.latest_version()
    assert len(server.asked("/a")) == 1
    assert report(source).kinds["waiting"] == 1


def test_a_feed_that_is_taken_off_the_list_leaves_with_its_episodes(server: FeedsStandIn, listed: Listed) -> None:
    server.pages |= {"/a": feed(rss([Item("A", "1")])), "/b": feed(rss([Item("B", "1")]))}
    both = listed("/a", "/b").latest_version()
    source = listed("/b")
    one = source.latest_version()
    assert titles(source, one) == {"B"}
    assert listed("/b", "/a").latest_version() == both  # in another order, from what was kept


def test_private_addresses_are_refused_by_default(server: FeedsStandIn, store: ArtifactStore, feed_list: Path) -> None:
    server.pages["/a"] = feed(rss([Item(guid="1")]))
    feed_list.write_text(server.url("/a"))
    with pytest.raises(RetryLaterError, match="refused_address"):
        FeedsSource(store, feed_list).latest_version()
    assert not server.requests


def test_nothing_reached_is_an_error_that_is_tried_again(server: FeedsStandIn, listed: Listed) -> None:
    server.pages["/a"] = in_turn(feed(rss([Item(guid="1")])), status(404))
    source = listed("/a", "/missing")
    source.latest_version()
    with pytest.raises(RetryLaterError, match="None of the 2 feeds could be read"):
        source.latest_version()


def test_nothing_ever_read_is_an_error_that_is_tried_again(server: FeedsStandIn, listed: Listed) -> None:
    server.pages["/a"] = status(410)
    with pytest.raises(RetryLaterError, match="so far"):
        listed("/a").latest_version()


def test_a_list_that_is_missing_is_an_error_at_once(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(FeedListError, match="PODSEARCH_FEEDS"):
        FeedsSource(store, tmp_path / "missing.opml").latest_version()


def test_the_last_two_versions_are_kept(server: FeedsStandIn, listed: Listed) -> None:
    pages = [feed(rss([Item("An episode", str(number))])) for number in range(4)]
    server.pages["/a"] = in_turn(*pages)
    source = listed("/a")
    versions = [source.latest_version() for _ in pages]
    assert source.store.names("downloads", "feeds") == sorted(versions[-2:])
    with pytest.raises(DatasetError, match="trigger ingest_episodes again"):
        source.fetch(versions[0])


def test_a_poll_that_is_killed_loses_nothing(
    server: FeedsStandIn, listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pages |= {f"/{name}": feed(rss([Item(name, "1")]), etag='"1"') for name in "ab"}
    source = listed("/a", "/b")
    real, writes = ArtifactStore.write_bytes, 0

    def dies(self: ArtifactStore, data: bytes, *parts: str) -> object:
        nonlocal writes
        writes += 1
        if writes == deadline:
            raise KeyboardInterrupt
        return real(self, data, *parts)

    monkeypatch.setattr(ArtifactStore, "write_bytes", dies)
    for deadline in range(1, 6):  # at each write of the first poll in turn
        writes = 0
        with pytest.raises(KeyboardInterrupt):
            source.latest_version()
        deadline = 0
        assert titles(source, source.latest_version()) == {"a", "b"}
        source.store.remove("feeds")
        source.store.remove("downloads")


def test_secrets_in_addresses_are_neither_logged_nor_reported(
    server: FeedsStandIn, listed: Listed, caplog: pytest.LogCaptureFixture
) -> None:
    secret = server.url("/f?key=s3cret", host="me:s3cret@127.0.0.1")
    server.pages["/b"] = feed(rss([Item(guid="1")]))
    source = listed("/b", secret, "ftp://me:s3cret@x.example/?s3cret")
    with caplog.at_level(logging.DEBUG, logger="include"):
        source.latest_version()
    assert "s3cret" not in caplog.text
    assert "s3cret" not in json.dumps(report(source).model_dump(mode="json"))
    assert server.url("/f?…") in caplog.text


def test_a_dataset_is_written_whole_or_not_at_all(server: FeedsStandIn, listed: Listed) -> None:
    server.pages["/a"] = feed(rss([Item("One", "1")]))
    source = listed("/a")
    version = source.latest_version()
    source.store.path("downloads", "feeds", version, "manifest.json").unlink()
    with pytest.raises(DatasetError):
        source.fetch(version)
    assert source.latest_version() == version
    assert titles(source, version) == {"One"}


def test_a_store_in_trouble_is_no_trouble_of_the_feeds(
    server: FeedsStandIn, listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    server.pages["/a"] = feed(rss([Item(guid="1")]))
    source = listed("/a")
    monkeypatch.setattr(ArtifactStore, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        source.latest_version()


def test_an_object_store_serves_as_well(server: FeedsStandIn, feed_list: Path) -> None:
    server.pages["/a"] = feed(rss([Item("One", "1")]))
    feed_list.write_text(server.url("/a"))
    source = FeedsSource(ArtifactStore("memory://feeds-test"), feed_list, limits=LIMITS, allow_private=True)
    version = source.latest_version()
    assert titles(source, version) == {"One"}
    assert source.latest_version() == version
    assert write_dataset(source.store, []) != version
