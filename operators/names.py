"""Names that DAGs share: assets, tags, and the defaults of every task."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any

from airflow.sdk import Asset

from include.settings import get_settings
from operators.alerts import TaskFailed, end_within
from operators.retries import RetryByError

EPISODES = Asset("episodes")
"""A new snapshot of the catalogue was published."""
RETRIEVER = Asset("retriever")
"""A new model version was registered."""
LIVE_INDEX = Asset("live_index")
"""Search answers from another snapshot or another model."""


class Tag(StrEnum):
    """The tags a DAG may carry."""

    PODSEARCH = "podsearch"
    INGESTION = "ingestion"
    TRAINING = "training"
    SEARCH = "search"
    OPERATIONS = "operations"


DEFAULT_ARGS: dict[str, Any] = {
    "owner": "podsearch",
    "retries": 2,
    "retry_policy": RetryByError(),
    "on_failure_callback": TaskFailed(),
}

PATIENT: dict[str, Any] = {"retries": 8, "retry_exponential_backoff": 2, "max_retry_delay": timedelta(hours=1)}
"""For tasks that call other people's servers: with the usual delay, they survive an outage of two hours."""

INGEST_DEADLINE = end_within(get_settings().alerts.ingest_deadline_hours)
"""When a run of ``ingest_episodes`` must have ended."""
