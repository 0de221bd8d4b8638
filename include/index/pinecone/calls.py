"""Calling Pinecone: what is retried, for how long, and what an error means."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from pinecone.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PaymentRequiredError,
    PineconeError,
    PineconeTypeError,
    PineconeValueError,
    RateLimitError,
    UnauthorizedError,
)

from include.errors import PermanentError, RetryLaterError
from include.index.pinecone.credentials import KEYS_PAGE

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """How often requests are retried, and how long to wait, in seconds.

    The client itself tries four times before a request counts as failed here.

    :param attempts: of one request.
    :param first_wait: before the second attempt; doubled each time, up to ``longest_wait``. Each wait is shortened at
        random by up to a half, so that tasks which failed together do not come back together.
    :param request: for the answer to one attempt.
    :param ready: for a new index.
    :param settled: until reads show what was written; Pinecone is eventually consistent.
    :param poll: between two looks while something is waited for.
    """

    attempts: int = 6
    first_wait: float = 2.0
    longest_wait: float = 30.0
    request: float = 30.0
    ready: float = 300.0
    settled: float = 120.0
    poll: float = 1.0

    def waits(self) -> Iterator[float]:
        """The waits between attempts."""
        for number in range(self.attempts - 1):
            yield min(self.longest_wait, self.first_wait * 2**number) * random.uniform(0.5, 1)  # noqa: S311


class MissingError(PermanentError):
    """Pinecone has no such thing."""


class ExistsError(PermanentError):
    """Pinecone has such a thing already."""


class PineconeRequests:
    """Makes requests, all of which are idempotent.

    :param secret: what no message may contain, whatever a server answers.
    """

    def __init__(self, patience: Patience, secret: str) -> None:
        self.patience = patience
        self._secret = secret

    def call(self, doing: str, request: Callable[[], Result]) -> Result:
        """The request's result.

        :param doing: what is being done, for messages.
        :raises PermanentError: only a person can fix it.
        :raises RetryLaterError: Pinecone is unavailable or busy for too long.
        """
        waits = self.patience.waits()
        while True:
            try:
                return request()
            except PineconeError as error:
                failure = self.explain(error, doing)
            # Outside the handler: the client's error is no context of ours, for it may quote what a server echoed.
            if not self.wait(failure, waits):
                raise failure

    def wait(self, failure: Exception, waits: Iterator[float]) -> bool:
        """Wait before another attempt, and return whether there is one."""
        pause = next(waits, None)
        if pause is None or not isinstance(failure, RetryLaterError):
            return False
        if (failure.seconds or 0) > self.patience.longest_wait:
            return False
        pause = max(pause, failure.seconds or 0)
        log.warning("%s Retrying in %.1f s.", failure, pause)
        time.sleep(pause)
        return True

    def each(self, requests: Callable[[Item], Result], items: Sequence[Item], *, at_once: int) -> list[Result]:
        """The results of one function for many items, in their order; the first failure ends it."""
        if not items:
            return []
        with ThreadPoolExecutor(min(at_once, len(items)), thread_name_prefix="pinecone") as pool:
            return list(pool.map(requests, items))  # which begins nothing more after a failure

    def until(self, condition: Callable[[], bool], *, limit: float) -> bool:
        """Poll until something is true; False if it is not within ``limit`` seconds."""
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() >= end:
                return False
            time.sleep(self.patience.poll)
        return True

    def explain(self, error: BaseException, doing: str) -> PermanentError | RetryLaterError:
        """What a client error means."""
        said = f"Pinecone, {doing}: {error}".replace(self._secret, "***").rstrip(".") + "."
        if isinstance(error, UnauthorizedError):
            return PermanentError(f"{said} It refuses the API key: make another at {KEYS_PAGE}.")
        if isinstance(error, ForbiddenError | PaymentRequiredError):
            return PermanentError(f"{said} The key's roles or the project's plan do not allow it: see {KEYS_PAGE}.")
        if isinstance(error, NotFoundError):
            return MissingError(said)
        if isinstance(error, ConflictError):
            return ExistsError(said)
        if isinstance(error, RateLimitError):
            return RetryLaterError(said, seconds=error.retry_after)
        if isinstance(error, ApiError):
            return RetryLaterError(said) if error.status_code in RETRYABLE else PermanentError(said)
        if isinstance(error, PineconeValueError | PineconeTypeError):
            return PermanentError(said)
        # What is left is no answer of Pinecone's: none in time, one that could not be read, or requests that were held
        # back.
        return RetryLaterError(said)
