"""podsearch's own metrics, sent through Airflow's: OpenTelemetry or StatsD, whichever is switched on.

``docs/observability.md`` lists them. Airflow prefixes the names with ``airflow.``, and sends a task's metrics when its
process ends.
"""

from __future__ import annotations

from enum import StrEnum

from airflow.sdk.observability import stats


class Count(StrEnum):
    """Metrics that add up."""

    QUERIES = "podsearch.queries"
    EMBEDDINGS = "podsearch.embeddings"
    UPSERTS = "podsearch.upserts"
    GPU_SECONDS = "podsearch.gpu_seconds"


class Gauge(StrEnum):
    """Current values, or those of the last run."""

    EPISODES = "podsearch.snapshot.episodes"
    QUARANTINED = "podsearch.snapshot.quarantined"
    SNAPSHOT_AGE = "podsearch.snapshot.age_seconds"
    QUERY_RATE = "podsearch.queries_per_second"
    QUERY_TOKENS_RATE = "podsearch.query_tokens_per_second"
    EMBEDDING_RATE = "podsearch.embeddings_per_second"
    EMBEDDING_TOKENS_RATE = "podsearch.embedding_tokens_per_second"
    UPSERT_RATE = "podsearch.upserts_per_second"
    PLAN_VECTORS = "podsearch.plan.vectors"
    PLAN_SECONDS = "podsearch.plan.seconds"
    INDEX_RECORDS = "podsearch.index.records"
    INDEX_LAG = "podsearch.index.lag_seconds"
    LIVE_QUALITY = "podsearch.live.quality"
    QUESTIONS_ASKED = "podsearch.search.asked"
    QUESTIONS_ANSWERED = "podsearch.search.answered"
    SEARCHES = "podsearch.listeners.searches"
    SUCCESS = "podsearch.listeners.success"
    PLAYED_RANK = "podsearch.listeners.mrr"


def count(what: Count, number: float, **tags: str) -> None:
    """Add to a count; fractions are rounded."""
    stats.incr(what, round(number), tags=tags)


def gauge(what: Gauge, value: float, **tags: str) -> None:
    """Set a value."""
    stats.gauge(what, float(value), tags=tags)


def work(counted: Count, rate: Gauge, number: int, seconds: float) -> None:
    """Report how much was done, and how much per second."""
    count(counted, number)
    pace(rate, number, seconds)


def pace(rate: Gauge, number: int, seconds: float) -> None:
    """Report how much was done per second."""
    if seconds > 0:
        gauge(rate, number / seconds)
