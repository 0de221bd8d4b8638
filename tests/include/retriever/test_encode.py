from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sentence_transformers import SentenceTransformer

from include.retriever import encode as module
from include.retriever.encode import EmbeddingCache, shard_part
from include.retriever.encoders.contract import Encoder, TextKind, Vectors
from include.retriever.encoders.torch_encoder import TorchEncoder
from include.storage import ArtifactStore
from tests.models import DIMENSION, TOPICS

WORDS = sorted({word for topic in TOPICS.values() for word in topic})


def some_texts(count: int, seed: int = 1) -> dict[str, str]:
    """Texts of very different lengths by a stand-in for their content hash."""
    chance = random.Random(seed)
    return {f"h{n:04d}": " ".join(chance.choices(WORDS, k=chance.randint(1, 60))) for n in range(count)}


class CountingEncoder:
    """Notes the texts that a real model is given, and can break down before a call."""

    tokens = 0

    def __init__(self, encoder: Encoder, *, fail_at_call: int | None = None) -> None:
        self.encoder, self.fail_at_call = encoder, fail_at_call
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str], *, batch_size: int = 0, kind: TextKind = "document") -> Vectors:
        if len(self.calls) + 1 == self.fail_at_call:
            raise KeyboardInterrupt
        self.calls.append(list(texts))
        return self.encoder.encode(texts, batch_size=batch_size, kind=kind)


@pytest.fixture
def encoder(model: SentenceTransformer) -> Encoder:
    return TorchEncoder(model)


@pytest.fixture(params=["disk", "memory"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> EmbeddingCache:
    """A cache on a local disk and in an object store."""
    root = tmp_path if request.param == "disk" else f"memory://{tmp_path.name}"
    return EmbeddingCache(ArtifactStore(root), "model-1", shard_part(3))


def test_vectors_are_normalised_float32(encoder: Encoder) -> None:
    vectors = encoder.encode(["sleep at night", "", "🎉", "soup " * 500], batch_size=2)
    assert vectors.shape == (4, DIMENSION)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch_mates(encoder: Encoder) -> None:
    """An episode that is encoded again in another batch must stay where it is in the index."""
    texts = list(some_texts(40).values())
    together = encoder.encode(texts, batch_size=16)
    alone = np.concatenate([encoder.encode([text], batch_size=1) for text in texts])
    backwards = encoder.encode(texts[::-1], batch_size=7)[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together, backwards, atol=1e-5)


def test_nothing_is_encoded_twice(cache: EmbeddingCache, encoder: Encoder) -> None:
    texts = some_texts(20)
    first, second = dict(list(texts.items())[:12]), texts
    counting = CountingEncoder(encoder)
    assert cache.encode_missing(first, counting, batch_size=8) == 12
    assert cache.encode_missing(second, counting, batch_size=8) == 8
    assert cache.encode_missing(second, counting, batch_size=8) == 0
    given = [text for call in counting.calls for text in call]
    assert sorted(given) == sorted(texts.values())


def test_killed_half_way_loses_one_chunk_at_most(
    cache: EmbeddingCache, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 8)
    monkeypatch.setattr(module, "CHUNK_SECONDS", 0)
    texts = some_texts(30)
    with pytest.raises(KeyboardInterrupt):
        cache.encode_missing(texts, CountingEncoder(encoder, fail_at_call=3), batch_size=4)
    assert len(cache.missing(set(texts))) == 30 - 16
    again = CountingEncoder(encoder)
    assert cache.encode_missing(texts, again, batch_size=4) == 14
    assert sum(map(len, again.calls)) == 14
    assert cache.missing(set(texts)) == set()


def test_killed_while_writing_leaves_no_part_of_a_file(
    tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EmbeddingCache(ArtifactStore(tmp_path), "model-1", "queries")

    def fail(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        cache.encode_missing(some_texts(3), encoder, batch_size=4)
    assert cache.missing(set(some_texts(3))) == set(some_texts(3))
    monkeypatch.undo()
    assert cache.encode_missing(some_texts(3), encoder, batch_size=4) == 3


def test_longest_texts_come_first(cache: EmbeddingCache, encoder: Encoder) -> None:
    """A batch too large for the memory shows at once, and the time that is left is never underestimated."""
    counting = CountingEncoder(encoder)
    cache.encode_missing(some_texts(30), counting, batch_size=8)
    lengths = [len(text) for call in counting.calls for text in call]
    assert lengths == sorted(lengths, reverse=True)


def test_vectors_come_in_the_order_that_is_asked_for(cache: EmbeddingCache, encoder: Encoder) -> None:
    texts = some_texts(25)
    cache.encode_missing(texts, encoder, batch_size=8)
    order = random.Random(5).sample(sorted(texts), 25)
    np.testing.assert_allclose(
        cache.vectors(order), encoder.encode([texts[key] for key in order], batch_size=8), atol=1e-5
    )
    assert cache.vectors([order[0], order[0]]).shape == (2, DIMENSION)
    assert len(cache.vectors([])) == 0
    with pytest.raises(KeyError, match="unknown"):
        cache.vectors(["unknown"])


def test_models_do_not_meet(tmp_path: Path, encoder: Encoder) -> None:
    """Vectors of two models in one index are the recipe's gravest mistake."""
    store = ArtifactStore(tmp_path)
    EmbeddingCache(store, "model-1", "held-out").encode_missing({"h": "sleep"}, encoder, batch_size=4)
    assert EmbeddingCache(store, "model-2", "held-out").missing({"h"}) == {"h"}


def test_a_text_that_moved_to_another_part_is_not_encoded_again(tmp_path: Path, encoder: Encoder) -> None:
    """Shards change with their number; a vector does not."""
    store = ArtifactStore(tmp_path)
    before, now = (EmbeddingCache(store, "model-1", shard_part(shard)) for shard in (0, 1))
    before.encode_missing({"h": "sleep"}, encoder, batch_size=4)
    assert now.encode_missing({"h": "sleep", "i": "soup"}, encoder, batch_size=4) == 1
    np.testing.assert_allclose(now.vectors(["i", "h"]), encoder.encode(["soup", "sleep"], batch_size=4), atol=1e-5)


def names(cache: EmbeddingCache) -> list[str]:
    return cache.store.names(*cache.folder)


def some_vectors(count: int, seed: int = 1) -> tuple[list[str], Vectors]:
    vectors = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    return [f"v{seed}-{n:05d}" for n in range(count)], vectors


def test_quick_work_is_written_less_often(
    cache: EmbeddingCache, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU a chunk takes a fraction of a second; a file each would be hundreds of them."""
    monkeypatch.setattr(module, "CHUNK", 2)
    monkeypatch.setattr(module, "LARGEST_CHUNK", 8)
    counting = CountingEncoder(encoder)
    cache.encode_missing(some_texts(30), counting, batch_size=4)
    assert [len(call) for call in counting.calls] == [2, 4, 8, 8, 8]


def test_files_stay_few(cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each night adds a little, and every look for a text reads all files."""
    monkeypatch.setattr(module, "SMALL", 40)
    added: dict[str, Vectors] = {}
    for night in range(200):
        hashes, vectors = some_vectors(2, seed=night)
        cache.add(hashes, vectors)
        added.update(zip(hashes, vectors, strict=True))
    assert len(names(cache)) <= module.FEW + 400 / module.SMALL
    order = random.Random(1).sample(sorted(added), len(added))
    np.testing.assert_array_equal(cache.vectors(order), np.stack([added[key] for key in order]))
    assert cache.missing({*order, "unknown"}) == {"unknown"}


def test_large_files_are_left_alone(cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Merging them would take more memory than a task may have."""
    monkeypatch.setattr(module, "SMALL", 2)
    for night in range(20):
        cache.add(*some_vectors(2, seed=night))
    assert len(names(cache)) == 20


@pytest.mark.parametrize("moment", ["before the merged file", "while the others are removed"])
def test_a_merge_that_is_killed_loses_nothing(
    cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    for night in range(module.FEW - 1):
        cache.add(*some_vectors(3, seed=night))
    calls = []

    def killed(*parts: object) -> None:
        calls.append(parts)
        if moment == "before the merged file" or len(calls) == 3:
            raise KeyboardInterrupt
        remove(*parts)  # type: ignore[arg-type]

    remove = cache.store.remove
    if moment == "before the merged file":
        monkeypatch.setattr(pa, "concat_tables", killed)
    else:
        monkeypatch.setattr(cache.store, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.add(*some_vectors(3, seed=module.FEW - 1))
    monkeypatch.undo()
    for _ in range(2):
        for night in range(module.FEW):
            hashes, vectors = some_vectors(3, seed=night)
            np.testing.assert_array_equal(cache.vectors(hashes), vectors)
        cache.add(*some_vectors(3, seed=99))


@pytest.mark.parametrize("look", ["missing", "vectors"])
def test_a_file_that_is_merged_while_it_is_looked_for_is_found(tmp_path: Path, look: str) -> None:
    """Tasks of other shards look into this part while it is written to."""
    writer = EmbeddingCache(ArtifactStore(tmp_path), "model-1", shard_part(0))
    nights = [some_vectors(3, seed=night) for night in range(module.FEW)]
    for night in nights[:-1]:
        writer.add(*night)

    class MergedMeanwhile(ArtifactStore):
        def read_table(self, *parts: str, columns: list[str] | None = None) -> pa.Table:
            if len(names(writer)) > 1:
                writer.add(*nights[-1])
            return super().read_table(*parts, columns=columns)

    reader = EmbeddingCache(MergedMeanwhile(tmp_path), "model-1", shard_part(1))
    hashes = [key for keys, _ in nights[:-1] for key in keys]
    if look == "missing":
        assert reader.missing(set(hashes)) == set()
    else:
        expected = np.concatenate([vectors for _, vectors in nights[:-1]])
        np.testing.assert_array_equal(reader.vectors(hashes), expected)
    assert len(names(writer)) == 1
