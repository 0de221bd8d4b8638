"""Texts of very different lengths that the tests' models know the words of."""

from __future__ import annotations

import random

from sentence_transformers import SentenceTransformer

from tests.models import TOPICS

WORDS = sorted({word for topic in TOPICS.values() for word in topic})


def some_texts(count: int, seed: int = 1) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(1, 60))) for _ in range(count)]


ODD = ["", "🎉", "soup " * 500, "睡眠 und Суп", "a\x00b", "\u202e"]
"""Texts that break what does not expect them."""


def tokens_of(model: SentenceTransformer, texts: list[str]) -> int:
    """How many tokens a model reads of some texts."""
    read = model.tokenizer(texts, truncation=True, max_length=model.max_seq_length)
    return sum(map(len, read["input_ids"]))
