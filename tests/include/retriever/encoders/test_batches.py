from __future__ import annotations

import numpy as np
import pytest

from include.retriever.encoders.batches import WINDOW, by_tokens, padded, tokenized, used


@pytest.mark.parametrize("budget", [1, 64, 1_000, 10**9])
def test_every_text_is_in_one_batch_and_none_exceeds_the_budget(budget: int) -> None:
    lengths = np.random.default_rng(1).integers(1, 97, 200)
    batches = by_tokens(lengths, budget)
    assert sorted(np.concatenate(batches)) == list(range(200))
    assert all(len(rows) == 1 or len(rows) * lengths[rows].max() <= budget for rows in batches)


def test_batches_are_full_and_of_like_length() -> None:
    """Whatever the order the texts come in, little is computed for padding."""
    lengths = np.random.default_rng(1).integers(1, 97, 500)
    batches = by_tokens(lengths, 384)
    assert [int(lengths[rows].max()) for rows in batches] == sorted(int(lengths[rows].max()) for rows in batches)[::-1]
    computed = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
    assert computed < 1.05 * lengths.sum()
    assert len(batches) < 1.1 * lengths.sum() / 384 + 2


def test_every_text_is_tokenized_once_longest_first() -> None:
    texts = ["x" * (number % 97) for number in range(2 * WINDOW + 1)]
    given: list[str] = []

    def tokenize(own: list[str]) -> list[int]:
        given.extend(own)
        return [len(text) for text in own]

    found = [one for window in tokenized(texts, tokenize) for one in zip(*window, strict=True)]
    assert given == sorted(texts, key=len, reverse=True)
    assert sorted(at for at, _, _ in found) == list(range(len(texts)))
    assert all(texts[at] == text and len(text) == tokens for at, text, tokens in found)
    assert list(tokenized([], tokenize)) == []


def test_tokens_are_padded_on_the_right() -> None:
    tokens, lengths = padded([[5, 6], [7], [8, 9, 10]], 0)
    assert tokens.tolist() == [[5, 6, 0], [7, 0, 0], [8, 9, 10]]
    assert used(lengths).tolist() == [[True, True, False], [True, False, False], [True, True, True]]
