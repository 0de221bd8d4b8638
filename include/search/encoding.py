"""Vectors of queries for many at a time: what was asked lately is remembered, what comes together goes together."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from include.retriever.encoders.contract import Encoder, Vectors

REMEMBERED = 4_096
"""Queries whose vectors are kept: 6 MiB of 384 dimensions."""


@dataclass
class Encoded:
    """What was asked of encoders so far.

    :param batches: how often so many queries were encoded together.
    :param remembered: queries whose vectors were still there.
    """

    batches: Counter[int] = field(default_factory=Counter)
    remembered: int = 0


class QueryEncoder:
    """An encoder that several threads may use.

    One thread encodes at a time. Those that come meanwhile wait for it, and then one of them encodes what all of them
    want: eight queries together take less than half of what they take one by one.

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

        Raises what the encoder raises, to all whose queries it was given.
        """
        with self._noting:
            answers = [self._note(query) for query in queries]
        if any(isinstance(one, Future) and not one.done() for one in answers):
            with self._turn:
                self._encode_wanted()
        return np.stack([one.result() if isinstance(one, Future) else one for one in answers])

    def _note(self, query: str) -> Vectors | Future[Vectors]:
        """The vector of a query, or where it will be: asked for once, whoever asks."""
        if query in self._remembered:
            self._encoded.remembered += 1
            self._remembered.move_to_end(query)
            return self._remembered[query]
        if query not in self._coming:
            self._coming[query] = Future()
            self._wanted.append(query)
        return self._coming[query]

    def _encode_wanted(self) -> None:
        """Encode all that nobody does yet: nothing, if another thread has meanwhile."""
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
