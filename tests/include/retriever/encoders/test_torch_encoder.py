from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, StaticEmbedding
from torch import Tensor

from include.retriever.encoders import batches
from include.retriever.encoders.contract import TextKind
from include.retriever.encoders.torch_encoder import TorchEncoder
from tests.include.retriever.encoders.texts import ODD, some_texts, tokens_of
from tests.models import DIMENSION, build_distiluse

TEXTS = [*some_texts(40), *ODD]


def expected(model: SentenceTransformer, texts: list[str], **options: Any) -> Any:
    return model.encode(texts, normalize_embeddings=True, **options)


@pytest.mark.parametrize("batch_size", [0, 1, 3, 100])
def test_vectors_are_those_of_the_library(model: SentenceTransformer, batch_size: int) -> None:
    vectors = TorchEncoder(model).encode(TEXTS, batch_size=batch_size)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected(model, TEXTS), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_model_with_a_dense_layer(tmp_path: Path) -> None:
    model = SentenceTransformer(str(build_distiluse(tmp_path)), device="cpu")
    np.testing.assert_allclose(TorchEncoder(model).encode(TEXTS), expected(model, TEXTS), atol=1e-5)


def test_more_texts_than_are_tokenized_at_a_time(model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "WINDOW", 7)
    np.testing.assert_allclose(TorchEncoder(model).encode(TEXTS), expected(model, TEXTS), atol=1e-5)


def test_no_text(model: SentenceTransformer) -> None:
    encoder = TorchEncoder(model)
    assert encoder.encode([]).shape == (0, DIMENSION)
    assert encoder.tokens == 0


def test_tokens_are_counted_without_padding(model: SentenceTransformer) -> None:
    encoder = TorchEncoder(model)
    for times in (1, 2):
        encoder.encode(TEXTS, batch_size=16)
        assert encoder.tokens == times * tokens_of(model, TEXTS)


@pytest.mark.parametrize("name", ["document", "passage"])
def test_queries_and_documents_have_their_prompts(model: SentenceTransformer, name: str) -> None:
    model.prompts = {"query": "what tells of ", name: "episode "}
    encoder = TorchEncoder(model)
    queries, documents = (one(TEXTS, normalize_embeddings=True) for one in (model.encode_query, model.encode_document))
    np.testing.assert_allclose(encoder.encode(TEXTS, kind="query"), queries, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS, kind="document"), documents, atol=1e-5)
    assert not np.allclose(encoder.encode(["sleep"], kind="query"), encoder.encode(["sleep"]), atol=1e-3)


def test_a_prompt_that_is_not_pooled(model: SentenceTransformer) -> None:
    """The model has to be told how long it is."""
    model.prompts = {"query": "what tells of "}
    pooling = model[1]
    assert isinstance(pooling, Pooling)
    pooling.include_prompt = False
    encoded = TorchEncoder(model).encode(TEXTS[:20], kind="query")
    np.testing.assert_allclose(encoded, model.encode_query(TEXTS[:20], normalize_embeddings=True), atol=1e-5)


def test_vectors_that_are_cut_are_normalised_afterwards(model: SentenceTransformer) -> None:
    model.truncate_dim = 8
    vectors = TorchEncoder(model).encode(TEXTS)
    assert vectors.shape == (len(TEXTS), 8)
    np.testing.assert_allclose(vectors, expected(model, TEXTS), atol=1e-5)


def test_a_model_that_is_no_transformer_encodes_by_itself(model: SentenceTransformer) -> None:
    torch.manual_seed(1)
    static = StaticEmbedding(model.tokenizer, embedding_dim=8)
    other = SentenceTransformer(modules=[static, Dense(8, 4)], device="cpu")
    texts = some_texts(10)
    np.testing.assert_allclose(TorchEncoder(other).encode(texts), expected(other, texts), atol=1e-5)


class SmallDevice(TorchEncoder):
    """Has memory for some tokens at a time."""

    def __init__(self, model: SentenceTransformer, memory: int) -> None:
        super().__init__(model)
        self.memory, self.tried = memory, list[int]()

    def _forward(self, batch: dict[str, Any], kind: TextKind) -> Tensor:
        self.tried.append(batch["input_ids"].numel())
        if self.tried[-1] > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super()._forward(batch, kind)


def test_a_device_without_enough_memory_gets_smaller_batches(
    model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "WINDOW", 16)
    encoder = SmallDevice(model, memory=500)
    np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=64), expected(model, TEXTS), atol=1e-5)
    too_large = [tokens > 500 for tokens in encoder.tried]
    assert too_large[0]
    assert not any(too_large[too_large.index(False) :]), "a size that is too large was tried again"
    assert encoder.tokens == tokens_of(model, TEXTS), "those of failed tries are not counted"


def test_a_text_that_is_too_much_alone_is_too_much(model: SentenceTransformer) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        SmallDevice(model, memory=10).encode(TEXTS)
