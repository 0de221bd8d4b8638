"""Vectors of queries for many clients: recent ones are cached, and queries that arrive together are encoded
together."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from include.retriever.encoders.contract import Encoder, Vectors

REMEMBERED = 4_096
"""How many queries' vectors are cached: 6 MiB at 384 dimensions."""


@dataclass
class Encoded:
    """Counts of what encoders have done.

    :param batches: how often a given number of queries were encoded together.
    :param remembered: queries answered from the cache.
    """

    batches: Counter[int] = field(default_factory=Counter)
    remembered: int = 0


class QueryEncoder:
    """An encoder that several threads may use.

    One thread encodes at a time. Others wait for it, and then one of them encodes for all: eight queries together take
    less than half the time that they take one by one.

    :param encoded: where it counts what it does.
    """

    def __init__(self, encoder: Encoder, encoded: Encoded, *, remembered: int = REMEMBERED) -> None:
        self._encoder = encoder
        self._encoded = encoded
        self._most = remembered
        self._remembered: OrderedDict[str, Vectors] = OrderedDict()
        self._coming: dict[str, Future[Vectors]] = {}
        self._wanted: list[str] = []
        self._noting = threading.Lock()
        self._turn = threading.Lock()

    def encode(self, queries: Sequence[str]) -> Vectors:
        """L2-normalised vectors, shape (queries, dimension).

        Raises what the encoder raises, in every thread whose query was in the batch.
        """
        with self._noting:
            answers = [self._note(query) for query in queries]
        if any(isinstance(one, Future) and not one.done() for one in answers):
            with self._turn:
                self._encode_wanted()
        return np.stack([one.result() if isinstance(one, Future) else one for one in answers])

    def _note(self, query: str) -> Vectors | Future[Vectors]:
        """The vector of a query, or the future of it: each query is encoded only once."""
        if query in self._remembered:
            self._encoded.remembered += 1
            self._remembered.move_to_end(query)
            return self._remembered[query]
        if query not in self._coming:
            self._coming[query] = Future()
            self._wanted.append(query)
        return self._coming[query]

    def _encode_wanted(self) -> None:
        """Encode all waiting queries; there are none if another thread has done so meanwhile."""
        with self._noting:
            wanted, self._wanted = self._wanted, []
        if not wanted:
            return
        try:
            vectors = self._encoder.encode(wanted, kind="query")
        except BaseException as error:
            with self._noting:
                coming = [self._coming.pop(query) for query in wanted]
            for one in coming:
                one.set_exception(error)
            return
        with self._noting:
            self._encoded.batches[len(wanted)] += 1
            coming = [self._coming.pop(query) for query in wanted]
            self._remembered.update(zip(wanted, vectors, strict=True))
            while len(self._remembered) > self._most:
                self._remembered.popitem(last=False)
        for one, vector in zip(coming, vectors, strict=True):
            one.set_result(vector)
