"""Names that DAGs share: assets, pools, tags, and the defaults of every task."""

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


class Pool(StrEnum):
    """Slots that limit what runs at once; created at start-up, see :data:`POOLS`."""

    GPU = "gpu"
    """Model work: as many slots as there are GPUs (on a machine without one: 1, and each task uses all cores)."""
    INDEX = "index"
    """Writes to the index: the embedded backend takes one writer at a time."""


class Queue(StrEnum):
    """Queues that Celery workers listen to; other executors ignore them."""

    GPU = "gpu"
    """For workers with GPUs, each running as many tasks at once as it has GPUs."""


POOLS: dict[str, tuple[int, str]] = {
    Pool.GPU: (1, "Model work: one slot per GPU, or one on a machine without"),
    Pool.INDEX: (1, "Writers of the embedded index"),
}
"""Slots and description of each pool; if Airflow runs on one machine, the GPU pool has one slot per GPU."""


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
