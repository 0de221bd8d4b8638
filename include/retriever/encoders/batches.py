"""Batches of tokenized texts, so that little is computed for padding and a batch fits the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Tokens = TypeVar("Tokens")

BATCH_SIZE = {"cpu": 4, "cuda": 256}
"""What suits a device. On a CPU a batch should stay in its caches: 1,024 tokens are 1.1 times as fast as 4,096."""
WINDOW = 1_024
"""Texts that are tokenized at a time."""


def tokenized(
    texts: Sequence[str], tokenize: Callable[[list[str]], Tokens]
) -> Iterator[tuple[list[int], list[str], Tokens]]:
    """Positions, texts and tokens, :data:`WINDOW` of them at a time; the next are tokenized while some are used.

    Longest first: texts of like length stand together, and a batch that is too large for the memory shows at once.
    """
    order = sorted(range(len(texts)), key=lambda at: -len(texts[at]))
    ahead: tuple[list[int], list[str], Future[Tokens]] | None = None
    with ThreadPoolExecutor(1) as pool:
        for start in range(0, len(order), WINDOW):
            window = order[start : start + WINDOW]
            own = [texts[at] for at in window]
            before, ahead = ahead, (window, own, pool.submit(tokenize, own))
            if before is not None:
                yield before[0], before[1], before[2].result()
        if ahead is not None:
            yield ahead[0], ahead[1], ahead[2].result()


def by_tokens(lengths: Rows, budget: int) -> list[Rows]:
    """Rows in batches of so many tokens at most, padding counted, longest first; a batch has one row at least.

    Ordered by tokens and not by letters, for a Chinese text has four times as many tokens a letter as an English one.
    """
    order = np.argsort(-lengths, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        end = start + max(1, budget // max(1, int(lengths[order[start]])))
        batches.append(order[start:end])
        start = end
    return batches


def padded(tokens: Sequence[Sequence[int]], pad: int) -> tuple[Rows, Rows]:
    """Token numbers, shape (n, length), padded on the right, and how many each text has."""
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    numbers = np.full((len(tokens), lengths.max()), pad, np.int64)
    numbers[used(lengths)] = np.fromiter(chain.from_iterable(tokens), np.int64, lengths.sum())
    return numbers, lengths


def used(lengths: Rows) -> npt.NDArray[np.bool_]:
    """Which places of a batch are no padding, shape (n, length)."""
    return np.arange(lengths.max()) < lengths[:, None]
