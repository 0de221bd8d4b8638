from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from functools import partial

import httpx
import pytest

from include.episodes.sources.feeds import poll as poll_module
from include.episodes.sources.feeds import state as states
from include.episodes.sources.feeds.addresses import Feed
from include.episodes.sources.feeds.client import Limits
from include.episodes.sources.feeds.failure import Reason
from include.episodes.sources.feeds.ids import feed_id
from include.episodes.sources.feeds.parsers import FeedParsers
from include.episodes.sources.feeds.poll import MAX_TROUBLES, Kind, Outcome, poll
from include.storage import ArtifactStore
from tests.include.episodes.sources.feeds.conftest import Names
from tests.standins.feeds import FeedsStandIn, Item, feed, rss, slow, status

LIMITS = Limits(connections=8, seconds=2.0, max_bytes=2**20)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_module, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(poll_module, "FeedParsers", partial(FeedParsers, processes=1))


def run(store: ArtifactStore, addresses: list[str]) -> list[Outcome]:
    feeds = [Feed(feed_id(httpx.URL(address)), address) for address in addresses]
    return asyncio.run(poll(store, feeds, now=datetime.now(UTC), limits=LIMITS, allow_private=True))


def test_hosts_are_asked_in_parallel_and_each_host_one_request_at_a_time(
    server: FeedsStandIn, store: ArtifactStore, names: Names
) -> None:
    pages = [f"/{number}" for number in range(4)]
    server.pages |= {page: slow(feed(rss([Item(guid="1")])), 0.1) for page in pages}
    hosts = [f"host-{number}.example" for number in range(6)]

    outcomes = run(store, [server.url(page, host=host) for page in pages for host in hosts])

    assert {outcome.kind for outcome in outcomes} == {Kind.UPDATED}
    assert {server.most_at_once[host] for host in hosts} == {1}
    assert 3 <= server.most_at_once["*"] <= 6


def test_no_more_feeds_are_asked_for_at_a_time_than_allowed(
    server: FeedsStandIn, store: ArtifactStore, names: Names
) -> None:
    server.pages["/f"] = slow(feed(rss([Item(guid="1")])), 0.1)
    run(store, [server.url("/f", host=f"host-{number}.example") for number in range(20)])
    assert server.most_at_once["*"] <= LIMITS.connections


def test_a_host_in_trouble_is_left_alone_and_others_are_not(
    server: FeedsStandIn, store: ArtifactStore, names: Names
) -> None:
    bad = [f"/bad-{number}" for number in range(6)]
    server.pages |= {page: status(503) for page in bad} | {"/good": feed(rss([Item(guid="1")]))}
    addresses = [server.url(page, host="down.example") for page in bad] + [server.url("/good", host="up.example")]

    outcomes = run(store, addresses)

    reasons = [outcome.reason for outcome in outcomes]
    assert reasons == [Reason.THROTTLED] * MAX_TROUBLES + [Reason.HOST_PAUSED] * 3 + [None]
    assert len(server.requests) == MAX_TROUBLES + 1


def test_feeds_that_failed_before_do_not_keep_their_hosts_good_feeds_waiting(
    server: FeedsStandIn, store: ArtifactStore
) -> None:
    bad = [f"/bad-{number}" for number in range(4)]
    server.pages |= {page: status(503) for page in bad} | {"/good": feed(rss([Item(guid="1")]))}
    addresses = [server.url(page) for page in [*bad, "/good"]]
    kinds = [run(store, addresses)[-1].kind for _ in range(3)]
    assert kinds[0] is Kind.WAITING
    assert Kind.UPDATED in kinds[1:]


def test_a_mistake_of_ours_with_one_feed_does_not_end_the_poll(
    server: FeedsStandIn, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.pages |= {"/a": feed(rss([Item(guid="1")])), "/b": feed(rss([Item(guid="1")]))}
    real = states.save_catalogue

    def fails_once(*args: object) -> object:
        monkeypatch.setattr(states, "save_catalogue", real)
        raise RuntimeError("a mistake")

    monkeypatch.setattr(states, "save_catalogue", fails_once)
    outcomes = run(store, [server.url("/a"), server.url("/b")])
    assert [outcome.reason for outcome in outcomes] == [Reason.UNEXPECTED, None]
    assert "RuntimeError: a mistake" in caplog.text


def test_progress_is_logged(
    server: FeedsStandIn, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(poll_module, "LOG_SECONDS", 0.0)
    server.pages["/a"] = feed(rss([Item(guid="1")]))
    with caplog.at_level(logging.INFO, logger="include"):
        run(store, [server.url("/a"), server.url("/missing")])
    assert "Polled 1 of 2 feeds" in caplog.text
