"""Which ids were met before, in 16 bytes each: a catalogue's ids need not fit in memory as text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RECENT = 2**16
"""Ids that are kept in a dictionary before they are packed."""

_Int64 = npt.NDArray[np.int64]


class SeenIds:
    """Remembers ids by their 64-bit hash, with a fingerprint of the row that had them first.

    The hashes lie in sorted arrays of doubling sizes (a log-structured merge tree). Two ids of the same hash are taken
    for one: among ten million ids, the odds of a single such pair are 1 to 370,000.
    """

    def __init__(self) -> None:
        self._recent: dict[int, int] = {}
        self._packed: list[tuple[_Int64, _Int64]] = []

    def add(self, ids: Sequence[str], fingerprints: Sequence[int]) -> dict[int, int]:
        """Add ids in their order.

        :param fingerprints: of each id's row (a hash of 64 bits).
        :returns: for the positions of ids that were there before: the fingerprint of the row that had them first.
        """
        keys = [hash(key) for key in ids]
        found = self._find_packed(keys)
        for position, (key, fingerprint) in enumerate(zip(keys, fingerprints, strict=True)):
            if position in found:
                continue
            if key in self._recent:
                found[position] = self._recent[key]
            else:
                self._recent[key] = fingerprint
        if len(self._recent) >= RECENT:
            self._pack()
        return found

    def _find_packed(self, keys: list[int]) -> dict[int, int]:
        found: dict[int, int] = {}
        if not self._packed:
            return found
        wanted = np.array(keys, np.int64)
        order = np.argsort(wanted)  # looking up in order reads memory in order
        wanted = wanted[order]
        for known, values in self._packed:
            places = np.searchsorted(known, wanted)
            places[places == len(known)] = 0
            hits = np.flatnonzero(known[places] == wanted)
            found.update(zip(order[hits].tolist(), values[places[hits]].tolist(), strict=True))
        return found

    def _pack(self) -> None:
        packed = _sorted(
            np.fromiter(self._recent.keys(), np.int64, len(self._recent)),
            np.fromiter(self._recent.values(), np.int64, len(self._recent)),
        )
        self._recent = {}
        while self._packed and len(self._packed[-1][0]) <= len(packed[0]):
            keys, values = self._packed.pop()
            packed = _sorted(np.concatenate([keys, packed[0]]), np.concatenate([values, packed[1]]))
        self._packed.append(packed)


def _sorted(keys: _Int64, values: _Int64) -> tuple[_Int64, _Int64]:
    order = np.argsort(keys, kind="stable")
    return keys[order], values[order]
