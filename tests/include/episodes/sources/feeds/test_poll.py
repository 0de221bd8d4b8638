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
from include.episodes.sources.feeds.client import PollLimits
from include.episodes.sources.feeds.failure import MAX_TROUBLES, Reason
from include.episodes.sources.feeds.ids import feed_id
from include.episodes.sources.feeds.parsers import FeedParsers
from include.episodes.sources.feeds.poll import PolledFeed, PollStatus, poll
from include.storage import ArtifactStore
from tests.include.episodes.sources.feeds.conftest import Names
from tests.standins.feeds import FeedsStandIn, Item, feed, redirect, rss, slow, status

LIMITS = PollLimits(connections=8, seconds=2.0, max_bytes=2**20)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_module, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(poll_module, "FeedParsers", partial(FeedParsers, processes=1))


def run(store: ArtifactStore, addresses: list[str]) -> list[PolledFeed]:
    feeds = [Feed(feed_id(httpx.URL(address)), address) for address in addresses]
    return asyncio.run(poll(store, feeds, now=datetime.now(UTC), limits=LIMITS, allow_private=True))


def test_hosts_are_asked_in_parallel_and_each_host_one_request_at_a_time(
    server: FeedsStandIn, store: ArtifactStore, names: Names
) -> None:
    pages = [f"/{number}" for number in range(4)]
    server.pages |= {page: slow(feed(rss([Item(guid="1")])), 0.1) for page in pages}
    hosts = [f"host-{number}.example" for number in range(6)]

    outcomes = run(store, [server.url(page, host=host) for page in pages for host in hosts])

    assert {outcome.kind for outcome in outcomes} == {PollStatus.UPDATED}
    assert {server.most_at_once[host] for host in hosts} == {1}
    assert 3 <= server.most_at_once["*"] <= 6


def test_no_more_feeds_are_asked_for_at_a_time_than_allowed(
    server: FeedsStandIn, store: ArtifactStore, names: Names
) -> None:
    server.pages["/f"] = slow(feed(rss([Item(guid="1")])), 0.1)
    run(store, [server.url("/f", host=f"host-{number}.example") for number in range(20)])
    assert server.most_at_once["*"] <= LIMITS.connections


def test_a_slow_host_that_many_are_redirected_to_keeps_no_other_feed_waiting(
    server: FeedsStandIn, store: ArtifactStore, names: Names
) -> None:
    """All connections were held by feeds that waited for their turn at it."""
    far = server.url("/slow", host="slow.example")
    server.pages |= {"/slow": slow(feed(rss([Item(guid="1")])), 0.3), "/good": feed(rss([Item(guid="1")]))}
    moved = [f"/moved-{number}" for number in range(2 * LIMITS.connections)]
    server.pages |= {page: redirect(f"{far}?{page}") for page in moved}
    server.pages |= {f"/slow?{page}": server.pages["/slow"] for page in moved}
    addresses = [server.url(page, host=f"host-{number}.example") for number, page in enumerate(moved)]
    addresses += [server.url("/good", host=f"good-{number}.example") for number in range(30)]

    outcomes = run(store, addresses)

    assert {outcome.kind for outcome in outcomes} == {PollStatus.UPDATED}
    asked = [seen.host for seen in server.requests]
    last_good = max(place for place, host in enumerate(asked) if host.startswith("good-"))
    assert sum(host.startswith("slow.") for host in asked[last_good:]) > len(moved) / 2


def test_a_host_that_does_not_answer_is_not_waited_for_by_all_that_are_redirected_to_it(
    server: FeedsStandIn, store: ArtifactStore, names: Names
) -> None:
    server.pages["/down"] = slow(status(503), 0.0)
    moved = [f"/moved-{number}" for number in range(7)]
    server.pages |= {page: redirect(server.url("/down", host="down.example")) for page in moved}

    outcomes = run(store, [server.url(page, host=f"host-{page[-1]}.example") for page in moved])

    assert sorted(str(outcome.reason) for outcome in outcomes) == ["host_paused"] * 4 + ["throttled"] * MAX_TROUBLES
    assert {outcome.kind for outcome in outcomes if outcome.reason is Reason.HOST_PAUSED} == {PollStatus.WAITING}
    assert len(server.asked("/down")) == MAX_TROUBLES


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
    assert kinds[0] is PollStatus.WAITING
    assert PollStatus.UPDATED in kinds[1:]


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
