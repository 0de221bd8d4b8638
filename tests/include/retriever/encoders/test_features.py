from __future__ import annotations

import torch
from sentence_transformers import SentenceTransformer

from include.retriever.encoders.batches import by_tokens
from include.retriever.encoders.features import cut, lengths_of, tokenize
from tests.include.retriever.encoders.texts import ODD, some_texts


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
