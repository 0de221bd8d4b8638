"""Words for the stand-in of Pinecone: BM25 over the texts of each field."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

K1, B = 1.2, 0.75
WORD = re.compile(r"\w+")
LONGEST = 40
"""Longer words are not indexed."""


class WordIndex:
    """Which texts, by their rows, have which words.

    :param texts: one a row, or None.
    """

    def __init__(self, texts: Sequence[str | None]) -> None:
        self._holds: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self._lengths: dict[int, int] = {}
        for row, text in enumerate(texts):
            found = Counter(words(text or ""))
            if found:
                self._lengths[row] = found.total()
            for word, times in found.items():
                self._holds[word][row] = times

    def scores(self, query: str) -> dict[int, float]:
        """Those of the rows that have one of the words."""
        scores: defaultdict[int, float] = defaultdict(float)
        count = len(self._lengths)
        mean = sum(self._lengths.values()) / max(count, 1)
        for word in set(words(query)):
            holding = self._holds.get(word, {})
            rarity = math.log(1 + (count - len(holding) + 0.5) / (len(holding) + 0.5))
            for row, times in holding.items():
                length = 1 - B + B * self._lengths[row] / mean
                scores[row] += rarity * times * (K1 + 1) / (times + K1 * length)
        return dict(scores)


def words(text: str) -> list[str]:
    """Its words in lower case, without the English plural's ending: all the stemming that tests need."""
    found = (word.lower() for word in WORD.findall(text) if len(word) <= LONGEST)
    return [word[:-1] if len(word) > 3 and word.endswith("s") else word for word in found]
