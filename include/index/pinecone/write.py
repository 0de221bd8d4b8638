"""Writing vectors: several requests on their way at a time, fewer when Pinecone is busy, and none of them lost."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from pinecone import Index
from pinecone.errors import PineconeError

from include.errors import PermanentError, RetryLaterError
from include.index.contract import Vectors
from include.index.pinecone.calls import Caller
from include.index.pinecone.records import Window

log = logging.getLogger(__name__)

UPSERTS_AT_ONCE = 8
NAMED = 10
"""Ids that a message names; the log and the error have all."""


class UpsertRefusedError(PermanentError):
    """Pinecone does not take some records, and never will as they are.

    :param ids: all that were not written, as far as is known.
    """

    def __init__(self, message: str, ids: Sequence[str]) -> None:
        super().__init__(message)
        self.ids = list(ids)


class UpsertFailedError(RetryLaterError):
    """Some records could not be written for the moment.

    :param ids: all that were not written, as far as is known.
    """

    def __init__(self, message: str, ids: Sequence[str], *, seconds: float | None = None) -> None:
        super().__init__(message, seconds=seconds)
        self.ids = list(ids)


def write_window(caller: Caller, client: Index, namespace: str, window: Window) -> None:
    """Write records, and again those that failed, until all are there or there is no hope.

    The client sends the requests, and holds some back while Pinecone answers that it is busy.

    :raises UpsertRefusedError: something is wrong with a record, or with the key.
    :raises UpsertFailedError: Pinecone was away or busy at every attempt.
    """
    doing = f"writing to {namespace}"
    waits = caller.patience.waits()
    left: list[Any] = list(window.items.values())
    answers: list[Exception] = []
    while left:
        response = caller.call(
            doing,
            partial(
                client.upsert,
                vectors=left,
                namespace=namespace,
                batch_size=window.batch_size,
                max_concurrency=UPSERTS_AT_ONCE,
                show_progress=False,
            ),
        )
        left = response.failed_items
        if not left:
            return
        ids = [item["id"] for item in left]
        errors = [error.error for error in response.errors]
        # What the client held back, because nothing came through, says less than the answers did before.
        answers = [error for error in errors if type(error) is not PineconeError] or answers or errors
        failures = [caller.explain(error, doing) for error in answers]
        refused = next((failure for failure in failures if isinstance(failure, PermanentError)), None)
        failure = refused or max(failures, key=_seconds)
        if not caller.wait(failure, waits):
            log.error("Not written to %s: %s", namespace, ", ".join(ids))
            message = f"{len(ids)} of {len(window.items)} records are not written: {_named(ids)}. {failure}"
            if refused is not None:
                raise UpsertRefusedError(message, ids)
            raise UpsertFailedError(message, ids, seconds=_seconds(failure) or None)


def same(found: dict[str, Vectors], written: dict[str, Vectors]) -> bool:
    """Whether what is read is what was written."""
    return all(key in found and np.allclose(found[key], values, atol=1e-5) for key, values in written.items())


def sample(window: Window, size: int) -> dict[str, Vectors]:
    """Some of the vectors, from the first to the last."""
    keys = list(window.items)
    chosen = keys[:: max(1, len(keys) // size)][-size:]
    return {key: np.asarray(window.items[key][1], np.float32) for key in chosen}


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")


def _seconds(failure: PermanentError | RetryLaterError) -> float:
    return (failure.seconds or 0) if isinstance(failure, RetryLaterError) else 0
