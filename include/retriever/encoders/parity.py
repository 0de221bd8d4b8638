"""Whether an encoder gives the vectors that its model gives."""

from __future__ import annotations

import numpy as np

from include.retriever.encoders.contract import Vectors
from include.retriever.encoders.precision import Precision

LEAST_COSINE: dict[Precision, float] = {"float32": 0.99999, "float16": 0.999, "int8": 0.95}
"""What a vector and that of PyTorch in ``float32`` have at least in common. all-MiniLM-L6-v2 on 192 real episodes:
``float32`` 0.999999, ``int8`` 0.987 (0.995 on average)."""

_SENTENCE = "A doctor and a chef talk about what to eat during the holidays, how to sleep better, and why we run."
PROBES = [
    "how to sleep better",
    "",
    _SENTENCE,
    f"Episode 12: Tax, pensions & loans. {_SENTENCE} Money Matters. {_SENTENCE[::-1]}",
    "Wie man im Winter gesund bleibt. Ein Gespräch über Schlaf, Ernährung und Bewegung.",
    "Как выспаться и почему мы бегаем. Разговор с врачом.",
    "如何睡得更好以及我们为什么跑步。与医生的对话。",
    "🎧 S02E07 — https://example.org/notes?utm_source=rss",
    " ".join([_SENTENCE] * 40),
]
"""Short and long, empty, in several alphabets, one longer than models read: batches with padding are made of them."""


def least_cosine(vectors: Vectors, reference: Vectors) -> float:
    """The smallest cosine between two encoders' vectors of the same texts; 0 if one of them is no number."""
    cosines = np.einsum("nd,nd->n", vectors, reference)
    return float(cosines.min()) if np.isfinite(cosines).all() else 0.0
