"""Trying again, a bounded number of times, with longer and longer pauses."""

from __future__ import annotations

import logging
import random
import time

from include.errors import RetryLaterError

log = logging.getLogger(__name__)


class Backoff:
    """Pauses between attempts at something that fails for the moment.

    :param attempts: how many in a row may fail; progress resets the count (:meth:`reset`).
    :param seconds: the first pause; each is twice the one before, give or take a quarter.
    """

    def __init__(self, *, attempts: int, seconds: float) -> None:
        self._attempts = attempts
        self._seconds = seconds
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def pause(self, error: RetryLaterError) -> None:
        """Wait before the next attempt.

        :raises RetryLaterError: the error, when attempts are spent, or when it says itself how long to wait: that is
            for the scheduler to do, which needs no process for it.
        """
        self._failures += 1
        if self._failures >= self._attempts or error.seconds is not None:
            raise error
        delay = self._seconds * 2 ** (self._failures - 1) * random.uniform(0.75, 1.25)  # noqa: S311
        log.warning("%s Retrying in %.0f s.", error, delay)
        time.sleep(delay)
