from __future__ import annotations

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from include.retriever.encoders.batches import by_tokens, cut, lengths_of, tokenize
from tests.include.retriever.encoders.texts import ODD, some_texts


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


def test_a_batch_that_is_cut_from_many_is_what_the_model_makes_of_it_alone(model: SentenceTransformer) -> None:
    texts = [*some_texts(20), *ODD]
    features = tokenize(model, texts, "document")
    lengths = lengths_of(features)
    assert lengths is not None
    for rows in by_tokens(lengths, 200):
        alone = tokenize(model, [texts[row] for row in rows], "document")
        own = cut(features, rows, int(lengths[rows[0]]))
        assert own.keys() == alone.keys()
        for name, value in alone.items():
            assert torch.equal(own[name], value) if isinstance(value, torch.Tensor) else own[name] == value


def test_padding_on_the_left_is_left_alone(model: SentenceTransformer) -> None:
    model.tokenizer.padding_side = "left"
    assert lengths_of(tokenize(model, ["sleep", "sleep at night"], "document")) is None
    assert lengths_of({"input_ids": torch.zeros(5, dtype=torch.long)}) is None
