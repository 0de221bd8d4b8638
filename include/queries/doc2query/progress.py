"""How far a long generation is: a log line now and then, with the rate and the time that is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

EVERY_SECONDS = 30.0


class Progress:
    """Counts finished passages.

    :param total: passages in all.
    :param clock: seconds.
    """

    def __init__(self, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock = total, clock
        self._started = self._told = clock()
        self._done = 0

    def add(self, count: int) -> None:
        """Say that more are finished; logs at most every :data:`EVERY_SECONDS`."""
        self._done += count
        now = self._clock()
        if now - self._told < EVERY_SECONDS:
            return
        self._told = now
        rate = self._done / (now - self._started)
        left = (self._total - self._done) / rate if rate else float("inf")
        log.info(
            "Queries for %d of %d passages: %.1f per second, %.0f minutes left.",
            self._done,
            self._total,
            rate,
            left / 60,
        )
