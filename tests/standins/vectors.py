"""Records in memory for the stand-in of Pinecone: exact search, filters, and reads that lag behind writes."""

from __future__ import annotations

import struct
import threading
import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.standins.words import WordIndex

Record = dict[str, Any]
"""``id``, ``values`` and ``metadata``, as they travel."""


class VectorNamespace:
    """The records of one namespace. A write is seen by reads ``lag`` seconds later, in the order of the writes."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.lag = 0.0
        self.statistics_lag = 0.0
        self.words_lag = 0.0
        """Seconds until words are found, after what has them can be read."""
        self._rows: dict[str, int] = {}
        self._ids: list[str] = []
        self._metadata: list[dict[str, Any]] = []
        self._values = np.zeros((64, dimension), np.float32)
        self._layout = struct.Struct(f"{dimension}f")
        """Of a row, to write one from a list in less time than NumPy takes to look at the list."""
        self._pending: deque[tuple[float, Callable[[], None]]] = deque()
        self._counts: list[tuple[float, int]] = [(0.0, 0)]
        self._ordered: list[str] | None = None
        self._norms: np.ndarray | None = None
        self._words: dict[str, WordIndex] = {}
        self._written: list[float] = []
        self._lock = threading.RLock()

    def upsert(self, records: list[Record]) -> None:
        self._later(lambda: self._put(records))

    def delete(self, ids: list[str]) -> None:
        self._later(lambda: self._remove(ids))

    def update(self, key: str, values: list[float] | None, metadata: dict[str, Any]) -> None:
        self._later(lambda: self._change(key, values, metadata))

    def copy(self) -> VectorNamespace:
        """Another that holds the same."""
        with self._lock:
            self._catch_up()
            other = VectorNamespace(self.dimension)
            other.upsert([self._record(row) for row in range(len(self._ids))])
            return other

    def count(self) -> int:
        """As the statistics have it."""
        with self._lock:
            self._catch_up()
            past = time.monotonic() - self.statistics_lag
            return next(number for moment, number in reversed(self._counts) if moment <= past)

    def fetch(self, ids: list[str]) -> dict[str, Record]:
        with self._lock:
            self._catch_up()
            return {key: self._record(self._rows[key]) for key in ids if key in self._rows}

    def page(self, prefix: str, after: str, limit: int) -> list[str]:
        """The ids that follow one, in their order."""
        with self._lock:
            self._catch_up()
            if self._ordered is None:
                self._ordered = sorted(self._rows)
            start = max(bisect_left(self._ordered, prefix), bisect_right(self._ordered, after) if after else 0)
            return [key for key in self._ordered[start : start + limit] if key.startswith(prefix)]

    def nearest(
        self, vector: list[float], k: int, wanted: dict[str, Any] | None, *, values: bool
    ) -> list[tuple[float, Record]]:
        """The k most similar by cosine, best first."""
        with self._lock:
            self._catch_up()
            count = len(self._ids)
            rows = np.arange(count)
            if wanted:
                rows = np.array([row for row in rows if matches(self._metadata[row], wanted)], int)
            if not len(rows):
                return []
            query = np.asarray(vector, np.float32)
            if self._norms is None:
                self._norms = np.linalg.norm(self._values[:count], axis=1)
            every = len(rows) == count
            own, norms = (self._values[:count], self._norms) if every else (self._values[rows], self._norms[rows])
            scores = own @ query / np.maximum(norms * np.linalg.norm(query), 1e-12)
            best = np.argpartition(-scores, min(k, len(scores)) - 1)[:k]
            best = best[np.argsort(-scores[best], kind="stable")]
            return [(float(scores[i]), self._record(rows[i], values=values)) for i in best]

    def fitting(
        self, clauses: Sequence[tuple[str, Sequence[str]]], k: int, wanted: dict[str, Any] | None
    ) -> list[tuple[float, Record]]:
        """The k that fit best, by the sum over what is asked of each field, best first."""
        with self._lock:
            self._catch_up()
            scores: dict[int, float] = {}
            for query, name in {(query, name) for query, names in clauses for name in names}:
                if name not in self._words:
                    self._words[name] = WordIndex([metadata.get(name) for metadata in self._metadata])
                for row, score in self._words[name].scores(query).items():
                    scores[row] = scores.get(row, 0) + score
            indexed = time.monotonic() - self.words_lag
            rows = [
                row
                for row in sorted(scores, key=lambda row: -scores[row])
                if self._written[row] <= indexed and matches(self._metadata[row], wanted or {})
            ]
            return [(scores[row], self._record(row)) for row in rows[:k]]

    def _later(self, write: Callable[[], None]) -> None:
        with self._lock:
            self._pending.append((time.monotonic() + self.lag, write))
            self._catch_up()

    def _catch_up(self) -> None:
        now = time.monotonic()
        while self._pending and self._pending[0][0] <= now:
            self._pending.popleft()[1]()
            self._ordered = self._norms = None
            self._words.clear()
            self._counts.append((now, len(self._ids)))

    def _put(self, records: list[Record]) -> None:
        for record in records:
            row = self._rows.get(record["id"])
            if row is None:
                row = self._rows[record["id"]] = len(self._ids)
                self._ids.append(record["id"])
                self._metadata.append({})
                self._written.append(0)
                if row == len(self._values):
                    self._values = np.concatenate([self._values, np.zeros_like(self._values)])
            self._layout.pack_into(self._values.data, row * self._layout.size, *record["values"])
            self._metadata[row] = record.get("metadata") or {}
            self._written[row] = time.monotonic()

    def _remove(self, ids: list[str]) -> None:
        for key in ids:
            row = self._rows.pop(key, None)
            if row is None:
                continue
            last = len(self._ids) - 1
            if row != last:
                self._values[row] = self._values[last]
                self._ids[row], self._metadata[row] = self._ids[last], self._metadata[last]
                self._written[row] = self._written[last]
                self._rows[self._ids[row]] = row
            self._ids.pop()
            self._metadata.pop()
            self._written.pop()

    def _change(self, key: str, values: list[float] | None, metadata: dict[str, Any]) -> None:
        if key not in self._rows:
            return
        row = self._rows[key]
        if values is not None:
            self._values[row] = values
        self._metadata[row] = self._metadata[row] | metadata

    def _record(self, row: int, *, values: bool = True) -> Record:
        own = {"values": self._values[row].tolist()} if values else {}
        return {"id": self._ids[row], "metadata": self._metadata[row], **own}


_MISSING = object()
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda held, wanted: held == wanted,
    "$ne": lambda held, wanted: held != wanted,
    "$in": lambda held, wanted: held in wanted,
    "$nin": lambda held, wanted: held not in wanted,
    "$exists": lambda held, wanted: (held is not _MISSING) == wanted,
    "$gt": lambda held, wanted: held is not _MISSING and held > wanted,
    "$gte": lambda held, wanted: held is not _MISSING and held >= wanted,
    "$lt": lambda held, wanted: held is not _MISSING and held < wanted,
    "$lte": lambda held, wanted: held is not _MISSING and held <= wanted,
}


def matches(metadata: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether metadata is as a filter in Pinecone's language wants it."""
    for name, condition in wanted.items():
        if name in ("$and", "$or"):
            if not (all if name == "$and" else any)(matches(metadata, part) for part in condition):
                return False
            continue
        held = metadata.get(name, _MISSING)
        conditions = condition if isinstance(condition, dict) else {"$eq": condition}
        if not all(_OPERATORS[operator](held, value) for operator, value in conditions.items()):
            return False
    return True
