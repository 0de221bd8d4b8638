"""Metrics of one service process, for Prometheus; docs/search.md lists them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

import prometheus_client
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from include.feedback.recorder import Recorder
from include.search.http.desk import Desk

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
NOWHERE = "other"
"""The route for unknown addresses, of which there is no end."""


class Metrics:
    """Counts requests, and asks the desk for the rest when scraped."""

    def __init__(self, desk: Desk, recorder: Recorder | None = None) -> None:
        self._registry = CollectorRegistry()
        self._requests = prometheus_client.Counter(
            "podsearch_requests",
            "Requests that were answered, by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "podsearch_request_seconds",
            "How long requests took, by route.",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Kept(desk, recorder))

    def answered(self, route: str | None, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route or NOWHERE, str(status)).inc()
        self._seconds.labels(route or NOWHERE).observe(seconds)

    def text(self) -> bytes:
        """All metrics, in Prometheus' format."""
        return generate_latest(self._registry)


class _Kept(Collector):
    """What the desk and the service count themselves."""

    def __init__(self, desk: Desk, recorder: Recorder | None) -> None:
        self._desk = desk
        self._recorder = recorder

    def collect(self) -> Iterator[Metric]:
        questions = self._desk.questions
        yield _gauge("podsearch_searches_at_work", "Searches being worked on.", questions.at_work)
        yield _gauge("podsearch_searches_waiting", "Searches that are waiting.", questions.waiting)
        turned_away = CounterMetricFamily(
            "podsearch_searches_turned_away", "Searches that were not answered, by reason.", labels=["reason"]
        )
        turned_away.add_metric(["busy"], questions.busy)
        turned_away.add_metric(["slow"], questions.slow)
        yield turned_away
        if self._recorder:
            lost = CounterMetricFamily("podsearch_records_lost", "Records of searches and plays that were not written.")
            lost.add_metric([], self._recorder.lost)
            yield lost
        if service := self._desk.opened:
            (live, manifest), encoded = service.seen(), service.encoded
            what = GaugeMetricFamily("podsearch_live_info", "What is live; always 1.", labels=["model", "snapshot"])
            what.add_metric([live.model_version, live.snapshot_id], 1)
            yield what
            yield _gauge(
                "podsearch_live_snapshot_age_seconds",
                "Age of the live snapshot.",
                (datetime.now(UTC) - manifest.created_at).total_seconds(),
            )
            yield _gauge(
                "podsearch_live_since_seconds",
                "How long the current index has been live.",
                (datetime.now(UTC) - live.activated_at).total_seconds(),
            )
            yield _gauge("podsearch_live_episodes", "Episodes in the live snapshot.", manifest.episodes)
            yield CounterMetricFamily(
                "podsearch_live_changes", "How often something new went live.", value=service.changes
            )
            yield CounterMetricFamily(
                "podsearch_query_vectors_remembered",
                "Queries that needed no encoding because their vectors were cached.",
                value=encoded.remembered,
            )
            yield _histogram(
                "podsearch_encoded_together", "Queries that were encoded together.", encoded.batches, BATCHES
            )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _histogram(name: str, text: str, sizes: Mapping[int, int], bounds: Iterable[int]) -> HistogramMetricFamily:
    sizes = Counter(dict(sizes))
    buckets: list[tuple[str, float]] = [
        (str(float(bound)), sum(often for size, often in sizes.items() if size <= bound)) for bound in bounds
    ]
    buckets.append(("+Inf", sizes.total()))
    total = sum(size * often for size, often in sizes.items())
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)
