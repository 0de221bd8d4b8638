"""Tasks of ``watch_search``: is search as it should be?"""

from __future__ import annotations

import statistics
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from operators.base import PodsearchOperator
from operators.measures import Gauge, gauge
from operators.reports import report_changes, report_freshness, report_lag, report_listening, report_search
from operators.telling import announcer

if TYPE_CHECKING:
    from airflow.sdk import Context


class CheckFreshnessOperator(PodsearchOperator):
    """Reports a published snapshot that is older than the settings allow.

    Returns its age in hours; None before the first snapshot.
    """

    def execute(self, context: Context) -> float | None:
        from include.alerts.state import age_of_snapshot

        age = age_of_snapshot(self.store, datetime.now(UTC))
        if age is None:
            return None
        gauge(Gauge.SNAPSHOT_AGE, age.total_seconds())
        days = self.settings.alerts.freshness_days
        report_freshness(age, timedelta(days=days) if days else None)
        return round(age.total_seconds() / 3600, 1)


class CheckLagOperator(PodsearchOperator):
    """Reports a published snapshot that search has not received within the time that the settings allow.

    Returns how many hours search has been behind; None if it is up to date.
    """

    def execute(self, context: Context) -> float | None:
        from include.alerts.state import lag_of_index

        lag = lag_of_index(self.store)
        report_lag(lag, timedelta(hours=self.settings.alerts.index_lag_hours))
        seconds = (datetime.now(UTC) - lag.since).total_seconds() if lag else 0.0
        gauge(Gauge.INDEX_LAG, seconds)
        return round(seconds / 3600, 1) if lag else None


class CheckSearchOperator(PodsearchOperator):
    """Asks search questions with known answers, as users would but without re-ranking, and reports what it misses.

    Also notes the size, age, scores and latency of what is live, and reports what left the range of recent days.

    Returns how many questions it asked and how many were answered; None before anything is live. If search cannot
    answer at all, the task fails.
    """

    def execute(self, context: Context) -> dict[str, int] | None:
        from include.episodes import snapshot
        from include.evaluation.queries import read_curated
        from include.index import watched
        from include.index.live import read_live
        from include.search import canaries
        from include.search.opening import open_search
        from operators.pinecone import open_index

        live = read_live(self.store)
        if live is None:
            report_search(None, None)
            return None
        service = open_search(self.settings, reranked=False, open_index=open_index)
        path = self.settings.curated_queries_path
        ask = canaries.OneByOne(service.search)
        checked = canaries.check(self.store, live, ask, read_curated(path) if path else {})
        self.log.info("Search answered %d of %d questions.", checked.asked - len(checked.lost), checked.asked)
        records = open_index(self.settings, live=live).count(live.namespace)
        now = read_live(self.store)
        if now is None or (now.namespace, now.snapshot_id) == (live.namespace, live.snapshot_id):
            report_search(checked, live)
            moment = datetime.now(UTC)
            look = watched.Look(
                at=moment,
                index=live.index,
                namespace=live.namespace,
                records=records,
                age=(moment - snapshot.load(self.store, live.snapshot_id).created_at).total_seconds(),
                score=statistics.median(checked.scores) if checked.scores else None,
                seconds=statistics.median(ask.seconds) if ask.seconds else None,
            )
            watched.note(self.store, look)
            report_changes(watched.changes(watched.load(self.store, most=watched.COMPARED)), live)
        answered = checked.asked - len(checked.lost)
        gauge(Gauge.QUESTIONS_ASKED, checked.asked)
        gauge(Gauge.QUESTIONS_ANSWERED, answered)
        gauge(Gauge.INDEX_RECORDS, records)
        for queries, metrics in live.metrics.items():
            for metric, value in metrics.items():
                gauge(Gauge.LIVE_QUALITY, value, queries=queries, metric=metric)
        return {"asked": checked.asked, "answered": answered}


class CheckListeningOperator(PodsearchOperator):
    """Counts what became of recorded searches, and reports a day on which listeners found less than usual.

    Returns how many searches there were yesterday, and the share of them that succeeded; None if nothing is recorded.
    """

    def execute(self, context: Context) -> dict[str, float | None] | None:
        from include.feedback import figures

        now, keep = datetime.now(UTC), self.settings.search.record_days
        days = figures.update(self.store, now=now) if keep else []
        falls = figures.falls(days, today=now.date()) if keep else []
        if falls is not None:
            report_listening(falls)
        yesterday = next((day for day in days if day.day == now.date() - timedelta(days=1)), None)
        if yesterday is None:
            return None
        gauge(Gauge.SEARCHES, yesterday.searches)
        for measured, value in ((Gauge.SUCCESS, yesterday.success), (Gauge.PLAYED_RANK, yesterday.mrr)):
            if value is not None:
                gauge(measured, value)
        return {"searches": yesterday.searches, "success": yesterday.success}


class RetryAlertsOperator(PodsearchOperator):
    """Sends the alerts that could not be sent when they were due."""

    def execute(self, context: Context) -> None:
        announcer().catch_up()
