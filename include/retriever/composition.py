"""What an episode's vector is made of: the mean of the vectors of its whole text and of its beginning.

The beginning (the title and the first sentences) says what an episode is about; the whole text has the names that
occur, and the show. Both together find more than either (benchmarks/RESULTS.md), with one vector per episode.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from include.queries.titles import count_words
from include.retriever.encoders.contract import Encoder, Vectors

COMPOSITION = 2
"""Raise it when vectors are made of something else, and :data:`include.index.contract.FORMAT` with it: everything is
then embedded again, for a new namespace. 1 was the whole text alone."""
WORDS = 60
"""Of the beginning; two characters are one where a script has no spaces."""
CHARS = 1_000
"""In which these words are looked for."""
_ADDRESS = re.compile(r"(?:https?://|www\.)[!-~]+|[\w.+-]+@[!-~]+", re.ASCII)
"""Of signs that addresses have: what follows one without a space, in Chinese say, is none of it."""


def encode_documents(encoder: Encoder, texts: Sequence[str], *, batch_size: int = 0) -> Vectors:
    """L2-normalised vectors of episodes, shape (n, dimension), float32.

    :param texts: as :func:`include.episodes.schema.compose_text` makes them.
    :param batch_size: see :class:`include.retriever.encoders.contract.Encoder`.
    """
    whole = encoder.encode(texts, batch_size=batch_size)
    starts = [beginning(text) for text in texts]
    longer = [row for row, (start, text) in enumerate(zip(starts, texts, strict=True)) if start and start != text]
    if not longer:
        return whole
    both = whole[longer] + encoder.encode([starts[row] for row in longer], batch_size=batch_size)
    vectors = whole.copy()
    vectors[longer] = both / np.linalg.norm(both, axis=1, keepdims=True)
    return vectors


def beginning(text: str) -> str:
    """The first :data:`WORDS` words of a text, without addresses.

    >>> beginning("Why we sleep. Notes: https://example.org/47 A doctor explains.")
    'Why we sleep. Notes: A doctor explains.'
    """
    kept: list[str] = []
    words = 0
    for word in _ADDRESS.sub(" ", text[:CHARS]).split():
        kept.append(word)
        words += max(1, count_words(word))
        if words >= WORDS:
            break
    return " ".join(kept)
