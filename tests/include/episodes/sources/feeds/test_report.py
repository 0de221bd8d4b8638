from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from include.episodes.sources.feeds.addresses import FeedList
from include.episodes.sources.feeds.failure import Reason
from include.episodes.sources.feeds.poll import PolledFeed, PollStatus
from include.episodes.sources.feeds.report import Report, make_report, write_report
from include.episodes.sources.feeds.state import FeedState
from include.storage import ArtifactStore

NOW = datetime(2026, 1, 10, tzinfo=UTC)


def state(name: str, *, failing_days: int | None = None, failures: int = 0) -> FeedState:
    address = f"https://{name}.example/f?key=1"
    since = NOW - timedelta(days=failing_days, hours=1) if failing_days is not None else None
    return FeedState(feed_id=name, address=address, asked=address, episodes=10, failing_since=since, failures=failures)


def report() -> Report:
    outcomes = [
        PolledFeed(PollStatus.UPDATED, state("new"), added=2, edited=1),
        PolledFeed(PollStatus.UNCHANGED, state("old")),
        PolledFeed(PollStatus.UPDATED, state("moved"), note="moved permanently to https://x.example"),
        PolledFeed(PollStatus.FAILED, state("flaky", failing_days=0, failures=1), Reason.TIMEOUT, "slow"),
        PolledFeed(PollStatus.FAILED, state("dead", failing_days=5, failures=6), Reason.NOT_FOUND, "404"),
    ]
    return make_report(FeedList(refused=[("nonsense", "why")]), outcomes, polled_at=NOW, seconds=1.26)


def test_the_worst_come_first_and_good_feeds_have_no_row() -> None:
    found = report()
    assert [(row.address, row.days, row.failures) for row in found.rows] == [
        ("https://dead.example/f?…", 5, 6),
        ("https://flaky.example/f?…", 0, 1),
        ("nonsense", 0, 0),
        ("https://moved.example/f?…", 0, 0),
    ]


def test_feeds_and_episodes_are_counted() -> None:
    found = report()
    assert found.kinds == {"updated": 2, "unchanged": 1, "failed": 3, "waiting": 0, "gone": 0}
    assert found.reasons == {"bad_address": 1, "timeout": 1, "not_found": 1}
    assert (found.feeds, found.episodes, found.added, found.edited, found.seconds) == (6, 50, 2, 1, 1.3)


def test_it_is_kept_and_logged(store: ArtifactStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="include"):
        path = write_report(store, report())
    assert Report.model_validate(store.read_json("feeds", "report.json")) == report()
    assert "Polled 6 feeds in 1 s: 2 updated, 1 unchanged, 3 failed, 0 waiting, 0 gone" in caplog.text
    assert "dead.example/f?…: not_found 404 (failing for 5 days)" in caplog.text
    assert f"3 feeds failed, 1 of them for 3 days or more: {path}" in caplog.text
