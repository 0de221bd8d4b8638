"""What a poll found: counts for the log, and the feeds that a person may want to look at."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel

from include.episodes.sources.feeds.addresses import FeedList, shown
from include.episodes.sources.feeds.failure import Reason
from include.episodes.sources.feeds.poll import PolledFeed, PollStatus
from include.episodes.sources.feeds.state import FOLDER
from include.storage import ArtifactStore

NAMED = 10
"""How many of the feeds in trouble the log names."""
MANY_DAYS = 3
"""A feed that has failed for this many days will hardly recover by itself."""

log = logging.getLogger(__name__)


class Row(BaseModel):
    """One feed that is not simply well.

    :param days: whole days since it last answered as it should.
    :param failures: polls that have failed since.
    """

    feed_id: str = ""
    address: str
    title: str = ""
    kind: PollStatus
    reason: Reason | None = None
    detail: str = ""
    note: str = ""
    days: int = 0
    failures: int = 0


class Report(BaseModel):
    """A poll: how many feeds had which outcome, what came in, and a row for each failing feed, the longest failing
    first."""

    polled_at: datetime
    seconds: float
    feeds: int
    kinds: dict[str, int]
    reasons: dict[str, int]
    episodes: int
    added: int
    edited: int
    rows: list[Row]


def make_report(feeds: FeedList, outcomes: Sequence[PolledFeed], *, polled_at: datetime, seconds: float) -> Report:
    """Summarise a poll; entries of the list that are no addresses count as feeds that failed."""
    refused = [
        Row(address=shown(address), kind=PollStatus.FAILED, reason=Reason.BAD_ADDRESS, detail=detail)
        for address, detail in feeds.refused
    ]
    rows = [*refused, *(_row(outcome, polled_at) for outcome in outcomes if outcome.reason or outcome.note)]
    kinds = Counter([*(str(outcome.kind) for outcome in outcomes), *(str(row.kind) for row in refused)])
    return Report(
        polled_at=polled_at,
        seconds=round(seconds, 1),
        feeds=len(outcomes) + len(refused),
        kinds={str(kind): kinds[kind] for kind in PollStatus},
        reasons=dict(Counter(str(row.reason) for row in rows if row.reason).most_common()),
        episodes=sum(outcome.state.episodes for outcome in outcomes),
        added=sum(outcome.added for outcome in outcomes),
        edited=sum(outcome.edited for outcome in outcomes),
        rows=sorted(rows, key=lambda row: (row.reason is None, -row.days, row.address)),
    )


def write_report(store: ArtifactStore, report: Report) -> str:
    """Keep the report of the latest poll, and log it; returns where it is."""
    path = str(store.write_json(report.model_dump(mode="json"), FOLDER, "report.json"))
    log.info(
        "Polled %d feeds in %.0f s: %s. %d new episodes, %d edited, %d in all.",
        report.feeds,
        report.seconds,
        ", ".join(f"{count} {kind}" for kind, count in report.kinds.items()),
        report.added,
        report.edited,
        report.episodes,
    )
    failed = [row for row in report.rows if row.kind is PollStatus.FAILED]
    lasting = [row for row in failed if row.days >= MANY_DAYS]
    for row in failed[:NAMED]:
        log.warning("%s: %s %s (failing for %d days)", row.address, row.reason, row.detail, row.days)
    if failed:
        log.warning("%d feeds failed, %d of them for %d days or more: %s", len(failed), len(lasting), MANY_DAYS, path)
    return path


def _row(outcome: PolledFeed, now: datetime) -> Row:
    state = outcome.state
    since = state.gone_since or state.failing_since
    return Row(
        feed_id=state.feed_id,
        address=shown(state.address),
        title=state.title,
        kind=outcome.kind,
        reason=outcome.reason,
        detail=outcome.detail,
        note=outcome.note,
        days=(now - since).days if since else 0,
        failures=state.failures,
    )
