"""Which pairs share a batch: none that would be each other's false negative, and if wanted those of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import BatchSampler

Integers = npt.NDArray[np.int64]

MOST_OFTEN = 10
"""What happened a thousand times is not to crowd out all that happened once: so many times the median weight counts at
most."""


class PairBatchSampler(BatchSampler):
    """Batches of row numbers, drawn anew each epoch from a seed, so that a resumed epoch deals the same ones.

    A batch holds no value of a key twice. Each row is dealt once an epoch, except the few that are left over when all
    full batches are made and would stand nearly alone, with nothing to be told apart from.

    :param keys: shape (rows, kinds): numbers of what must not meet in a batch (query, text, near-duplicate group).
    :param lengths: shape (rows,), in tokens or what goes with them; within a batch the longest come first.
    :param batch_size: rows.
    :param sorted_batches: rows of so many batches are sorted by length before they are dealt out; 1: none are. The very
        first batch is then one of the longest: if it does not fit into memory, that shows at once.
    :param weights: shape (rows,): a row is dealt so often relative to others, and as many in an epoch as there are rows
        (one of twice the mean weight twice, one of half of it every second epoch); None: each once.
    :param parts: into how many equal parts each batch is cut, one after another, one for each device.
    :param seed: of the drawing.
    """

    def __init__(
        self,
        keys: Integers,
        lengths: Integers,
        *,
        batch_size: int,
        sorted_batches: int = 1,
        weights: npt.NDArray[np.float64] | None = None,
        parts: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(range(len(keys)), batch_size, drop_last=False)
        if parts > 1:
            self.batch_size: Any = None  # to accelerate it then does not matter that the last batch is smaller
        self.rows_per_batch = batch_size
        self.keys, self.lengths, self.weights = keys, lengths, weights
        self.sorted_batches, self.parts, self.seed = sorted_batches, parts, seed
        self.epoch = 0

    @property
    def batches(self) -> int:
        """Batches in an epoch, on however many devices: as many as the rows would fill."""
        return -(-len(self.keys) // self.rows_per_batch)

    def __len__(self) -> int:
        return self.batches * self.parts

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        chance = np.random.default_rng([self.seed, self.epoch])
        dealt = deal(self._order(chance), self.keys, self.rows_per_batch)
        largest = sorted(dealt, key=len, reverse=True)[: self.batches]
        for number in self._sequence(largest, chance):
            rows = sorted(largest[number], key=lambda row: -self.lengths[row])
            yield from cut(rows, self.parts)

    def _order(self, chance: np.random.Generator) -> Integers:
        """All rows, shuffled, and in stretches sorted by length, up and down by turns."""
        order = chance.permutation(len(self.keys))
        if self.weights is not None:
            order = np.repeat(order, _draws(self.weights[order], chance))
        if self.sorted_batches == 1:
            return order
        stretch = self.sorted_batches * self.rows_per_batch
        pieces = []
        for start in range(0, len(order), stretch):
            rows = order[start : start + stretch]
            direction = -1 if start // stretch % 2 else 1
            pieces.append(rows[np.argsort(direction * self.lengths[rows], kind="stable")])
        return np.concatenate(pieces)

    def _sequence(self, batches: Sequence[Sequence[int]], chance: np.random.Generator) -> list[int]:
        """The batches' order: shuffled, and if they are of like length one of the longest first."""
        sequence: list[int] = chance.permutation(len(batches)).tolist()
        if self.sorted_batches > 1:
            longest = max(sequence, key=lambda number: int(self.lengths[batches[number]].sum()))
            sequence.remove(longest)
            sequence.insert(0, longest)
        return sequence


def deal(order: Integers, keys: Integers, size: int) -> list[list[int]]:
    """Put each row into the first batch that has room, behind the last one that holds one of the row's keys.

    :param order: row numbers, as they are to be dealt.
    :param keys: shape (rows, kinds).
    :returns: batches of at most ``size`` rows; all are full but those that keys or the end have kept from it.
    """
    batches: list[list[int]] = []
    seen: list[dict[int, int]] = [{} for _ in range(keys.shape[1])]  # of each key: the last batch that has it
    room = [0]  # of each batch: itself, or if it is full one behind it
    for row, own in zip(order.tolist(), keys[order].tolist(), strict=True):
        number = 1 + max(known.get(key, -1) for known, key in zip(seen, own, strict=True))
        while room[number] != number:
            room[number] = number = room[room[number]]
        if number == len(batches):
            batches.append([])
            room.append(number + 1)
        batches[number].append(row)
        for known, key in zip(seen, own, strict=True):
            known[key] = number
        if len(batches[number]) == size:
            room[number] = number + 1
    return batches


def cut(rows: Sequence[int], parts: int) -> list[list[int]]:
    """Cut a batch into parts of one size, each with its share of the long and of the short.

    What cannot be shared out is left away; fewer rows than parts are repeated, for every device must have something.
    """
    size = max(1, len(rows) // parts)
    rows = [rows[number % len(rows)] for number in range(size * parts)]
    return [rows[part::parts] for part in range(parts)]


def _draws(weights: npt.NDArray[np.float64], chance: np.random.Generator) -> Integers:
    """How often each row is drawn: its share of all draws, rounded up or down so that it comes true in the mean."""
    weights = np.minimum(weights, MOST_OFTEN * np.median(weights))
    steps = np.cumsum(weights) * (len(weights) / weights.sum()) + chance.random()
    draws: Integers = np.diff(np.floor(steps).astype(np.int64), prepend=0)
    return draws
