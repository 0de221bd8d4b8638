"""Where tasks run: pools and queues, by names that need no Airflow, which takes a second to import."""

from __future__ import annotations

from enum import StrEnum


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
