"""Feeds that keep older episodes on pages of their own (RFC 5005)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial

import httpx
import pytest

from include.episodes.sources.feeds import poll as poll_module
from include.episodes.sources.feeds import state as states
from include.episodes.sources.feeds.addresses import Feed
from include.episodes.sources.feeds.client import PollLimits
from include.episodes.sources.feeds.ids import feed_id
from include.episodes.sources.feeds.parsers import FeedParsers
from include.episodes.sources.feeds.poll import PolledFeed, PollStatus, poll
from include.storage import ArtifactStore
from tests.standins.feeds import FeedsStandIn, Item, feed, in_turn, rss, status

LIMITS = PollLimits(connections=4, seconds=2.0, max_bytes=2**20)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_module, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(poll_module, "FeedParsers", partial(FeedParsers, processes=1))


def page(*items: Item, older: str = "") -> bytes:
    link = f'<atom:link xmlns:atom="http://www.w3.org/2005/Atom" rel="next" href="{older}"/>'
    return rss(items, extra=link if older else "")


def polled(server: FeedsStandIn, store: ArtifactStore) -> PolledFeed:
    address = server.url("/feed")
    feeds = [Feed(feed_id(httpx.URL(address)), address)]
    (outcome,) = asyncio.run(poll(store, feeds, now=datetime.now(UTC), limits=LIMITS, allow_private=True))
    return outcome


def titles(store: ArtifactStore, outcome: PolledFeed) -> list[str]:
    return sorted(episode["title"] for episode in states.read_catalogue(store, outcome.state).episodes.values())


def test_older_pages_are_read_once_and_what_is_newer_counts(server: FeedsStandIn, store: ArtifactStore) -> None:
    server.pages |= {
        "/feed": feed(page(Item("Three", "3"), Item("Two, edited", "2"), older="/feed?page=2")),
        "/feed?page=2": feed(page(Item("Two", "2"), Item("One", "1"), older=server.url("/feed?page=3"))),
        "/feed?page=3": feed(page(Item("Nought", "0"))),
    }
    outcome = polled(server, store)
    assert titles(store, outcome) == ["Nought", "One", "Three", "Two, edited"]
    assert (outcome.kind, outcome.added) == (PollStatus.UPDATED, 4)
    assert "2 pages of older episodes were read" in outcome.note

    again = polled(server, store)
    assert (again.kind, again.added, titles(store, again)) == (PollStatus.UNCHANGED, 0, titles(store, outcome))
    assert len(server.asked("/feed?page=2")) == len(server.asked("/feed?page=3")) == 1


def test_a_page_that_fails_for_the_moment_is_asked_for_again_by_the_next_poll(
    server: FeedsStandIn, store: ArtifactStore
) -> None:
    server.pages |= {
        "/feed": feed(page(Item("Two", "2"), older="/feed?page=2")),
        "/feed?page=2": in_turn(status(503), feed(page(Item("One", "1")))),
    }
    outcome = polled(server, store)
    assert (outcome.kind, titles(store, outcome)) == (PollStatus.UPDATED, ["Two"])
    assert "could not be read" in outcome.note
    assert "throttled" in outcome.note
    assert "the next poll goes on" in outcome.note
    outcome = polled(server, store)
    assert (outcome.kind, outcome.added, titles(store, outcome)) == (PollStatus.UPDATED, 1, ["One", "Two"])


def test_a_page_that_is_not_there_ends_the_search(server: FeedsStandIn, store: ArtifactStore) -> None:
    server.pages["/feed"] = feed(page(Item("Two", "2"), older="/nowhere"))
    outcome = polled(server, store)
    assert (outcome.kind, titles(store, outcome)) == (PollStatus.UPDATED, ["Two"])
    assert "not_found" in outcome.note
    assert "goes on" not in outcome.note
    polled(server, store)
    assert len(server.asked("/nowhere")) == 1


def test_a_poll_reads_so_many_pages_and_the_next_goes_on(
    server: FeedsStandIn, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll_module, "OLDER_PAGES", 2)
    server.pages["/feed"] = feed(page(Item("Episode 0", "0"), older="/feed?page=1"))
    for number in range(1, 6):
        older = f"/feed?page={number + 1}" if number < 5 else ""
        server.pages[f"/feed?page={number}"] = feed(page(Item(f"Episode {number}", str(number)), older=older))
    counts = [len(titles(store, polled(server, store))) for _ in range(4)]
    assert counts == [3, 5, 6, 6]


@pytest.mark.parametrize("older", ["/feed", "/feed?page=2"])
def test_pages_that_lead_in_a_circle_come_to_an_end(
    server: FeedsStandIn, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, older: str
) -> None:
    monkeypatch.setattr(poll_module, "ALL_OLDER_PAGES", 7)
    server.pages |= {
        "/feed": feed(page(Item("Two", "2"), older="/feed?page=2")),
        "/feed?page=2": feed(page(Item("One", "1"), older=older)),
    }
    outcome = polled(server, store)
    assert titles(store, outcome) == ["One", "Two"]
    assert len(server.requests) <= 8
    asked = len(server.requests)
    polled(server, store)
    assert len(server.requests) == asked + 1


def test_a_link_that_leads_elsewhere_than_the_web_is_not_followed(server: FeedsStandIn, store: ArtifactStore) -> None:
    server.pages["/feed"] = feed(page(Item("Two", "2"), older="file:///etc/passwd"))
    assert titles(store, polled(server, store)) == ["Two"]
    assert len(server.requests) == 1
