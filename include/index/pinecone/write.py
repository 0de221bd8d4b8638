"""Writing documents: several requests on their way at a time, fewer when Pinecone is busy, and none of them lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial

import numpy as np
from pinecone import Index
from pinecone.errors import PineconeError

from include.errors import PermanentError, RetryLaterError
from include.index.contract import Stored
from include.index.pinecone.calls import PineconeRequests
from include.index.pinecone.records import Request

log = logging.getLogger(__name__)

UPSERTS_AT_ONCE = 16
"""Requests on their way, of 2 MB each, which bounds the memory that writing takes."""
SAMPLED = 2
"""Records of each request that are looked for after the last one; all that were on their way together are looked at,
for the last to be sent need not be the last to arrive."""
NAMED = 10
"""Ids that a message names; the log and the error have all."""


class UpsertRefusedError(PermanentError):
    """Pinecone does not take some records, and never will as they are.

    :param ids: all that were sent and not written, as far as is known.
    """

    def __init__(self, message: str, ids: Sequence[str]) -> None:
        super().__init__(message)
        self.ids = list(ids)


class UpsertFailedError(RetryLaterError):
    """Some records could not be written for the moment.

    :param ids: all that were sent and not written, as far as is known.
    :param answered: Pinecone has said why; else the client held them back at each attempt, for others had failed.
    """

    def __init__(
        self, message: str, ids: Sequence[str], *, seconds: float | None = None, answered: bool = True
    ) -> None:
        super().__init__(message, seconds=seconds)
        self.ids = list(ids)
        self.answered = answered


class Writer:
    """Writes requests to a namespace, up to :data:`UPSERTS_AT_ONCE` at a time.

    The next is made while others are on their way. Two with the same id never are: the later one counts.
    """

    def __init__(self, caller: PineconeRequests, client: Index, namespace: str) -> None:
        self.rows = 0
        """Records that were written, those of one id counted each."""
        self.last: dict[str, Stored] = {}
        """Some of those that were written last, by id."""
        self._caller = caller
        self._client = client
        self._namespace = namespace
        self._sent = 0
        self._on_the_way: dict[Future[None], Request] = {}

    def write(self, requests: Iterable[Request]) -> None:
        """Write all, or what can be until it is clear that not all can.

        :raises UpsertRefusedError: something is wrong with a record, or with the key.
        :raises UpsertFailedError: Pinecone was away or busy at every attempt.
        """
        pool = ThreadPoolExecutor(UPSERTS_AT_ONCE, thread_name_prefix="pinecone")
        try:
            for request in requests:
                others = self._on_the_way.values()
                meets = any(not request.items.keys().isdisjoint(other.items) for other in others)
                self._await(0 if meets else UPSERTS_AT_ONCE - 1)
                self._sent += len(request.items)
                self._on_the_way[pool.submit(self._write, request)] = request
                self._note(request)
            self._await(0)
        finally:
            pool.shutdown(cancel_futures=True)

    def _write(self, request: Request) -> None:
        """Write one request, and again those records that failed, until all are there or there is no hope."""
        doing = f"writing to {self._namespace}"
        waits = self._caller.patience.waits()
        left = list(request.items.values())
        answers: list[Exception] = []
        while left:
            # The client holds it back while others have made Pinecone answer that it is busy.
            response = self._caller.call(
                doing,
                partial(
                    self._client.documents.batch_upsert,
                    documents=left,
                    namespace=self._namespace,
                    batch_size=len(left),
                    max_concurrency=1,
                    show_progress=False,
                ),
            )
            ids = [item["_id"] for item in response.failed_items]
            if not ids:
                return
            left = [request.items[key] for key in ids]
            errors = [error.error for error in response.errors]
            # What the client held back, because nothing came through, says less than the answers did before.
            answers = [error for error in errors if type(error) is not PineconeError] or answers or errors
            failures = [self._caller.explain(error, doing) for error in answers]
            refused = next((failure for failure in failures if isinstance(failure, PermanentError)), None)
            failure = refused or max(failures, key=_seconds)
            if not self._caller.wait(failure, waits):
                if refused is not None:
                    raise UpsertRefusedError(str(failure), ids)
                answered = any(type(error) is not PineconeError for error in answers)
                raise UpsertFailedError(str(failure), ids, seconds=_seconds(failure) or None, answered=answered)

    def _await(self, most: int) -> None:
        """Wait until no more than so many requests are on their way; after a failure, for all of them."""
        failures: list[BaseException] = []
        while len(self._on_the_way) > (0 if failures else most):
            done, _ = wait(self._on_the_way, return_when=FIRST_COMPLETED)
            for future in done:
                request = self._on_the_way.pop(future)
                error = future.exception()
                self.rows += request.rows if error is None else 0
                failures += [error] if error is not None else []
        if failures:
            raise self._together(failures)

    def _together(self, failures: list[BaseException]) -> BaseException:
        """One error for all requests that failed."""
        refused = [failure for failure in failures if isinstance(failure, UpsertRefusedError)]
        failed = [failure for failure in failures if isinstance(failure, UpsertFailedError)]
        others = [failure for failure in failures if failure not in refused + failed]
        if others:
            return others[0]
        ids = [key for failure in refused + failed for key in failure.ids]
        log.error("Not written to %s: %s", self._namespace, ", ".join(ids))
        reason = refused[0] if refused else max(failed, key=lambda failure: failure.answered)
        message = f"{len(ids)} of {self._sent} records that were sent are not written: {_named(ids)}. {reason}"
        if refused:
            return UpsertRefusedError(message, ids)
        return UpsertFailedError(message, ids, seconds=max(map(_seconds, failed)) or None)

    def _note(self, request: Request) -> None:
        """Keep some of the records, the last among them."""
        keys = list(request.items)
        chosen = keys[:: -max(1, len(keys) // SAMPLED)][:SAMPLED]
        kept = {key: record for key, record in self.last.items() if key not in request.items}
        kept |= {key: request.stored(key) for key in chosen}
        self.last = dict(list(kept.items())[-SAMPLED * UPSERTS_AT_ONCE :])


def same(found: dict[str, Stored], written: dict[str, Stored]) -> bool:
    """Whether what is read is what was written."""
    return all(
        key in found
        and found[key].metadata == record.metadata
        and np.allclose(found[key].values, record.values, atol=1e-5)
        for key, record in written.items()
    )


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")


def _seconds(failure: PermanentError | RetryLaterError) -> float:
    return (failure.seconds or 0) if isinstance(failure, RetryLaterError) else 0
