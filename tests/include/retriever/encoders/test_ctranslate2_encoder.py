from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from include.conversion import convert
from include.retriever.encoders import ctranslate2_encoder
from include.retriever.encoders.contract import EncoderError
from include.retriever.encoders.ctranslate2_encoder import CTranslate2Encoder
from include.retriever.encoders.ctranslate2_encoder import ctranslate2_encoder as hand_over
from include.retriever.encoders.precision import Precision
from tests.include.retriever.encoders.texts import ODD, some_texts
from tests.models import build_distiluse, build_model

TEXTS = [*some_texts(40), *ODD]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two shapes of models that we use."""
    folder = tmp_path_factory.mktemp("models")
    return {"minilm": build_model(folder / "minilm"), "distiluse": build_distiluse(folder / "distiluse")}


@pytest.fixture(params=["minilm", "distiluse"])
def either(request: pytest.FixtureRequest, folders: dict[str, Path]) -> SentenceTransformer:
    return SentenceTransformer(str(folders[request.param]), device="cpu")


def make(
    model: SentenceTransformer, cache: Path, *, precision: Precision = "float32", threads: int = 1
) -> CTranslate2Encoder:
    return hand_over(model, precision=precision, threads=threads, cache=cache)


@pytest.mark.parametrize("threads", [1, 3])
def test_vectors_are_those_of_pytorch(either: SentenceTransformer, tmp_path: Path, threads: int) -> None:
    expected = either.encode(TEXTS, normalize_embeddings=True)
    encoder = make(either, tmp_path, threads=threads)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=1), expected, atol=1e-5)


def test_vectors_with_8_bits_are_close(either: SentenceTransformer, tmp_path: Path) -> None:
    expected = either.encode(TEXTS, normalize_embeddings=True)
    vectors = make(either, tmp_path, precision="int8").encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert 0.98 < (vectors * expected).sum(axis=1).min() < 1 - 1e-6, "8 bits were not used, or not well"


def test_prompts_are_put_before(either: SentenceTransformer, tmp_path: Path) -> None:
    either.prompts = {"query": "what tells of "}
    expected = either.encode_query(TEXTS[:10], normalize_embeddings=True)
    np.testing.assert_allclose(make(either, tmp_path).encode(TEXTS[:10], kind="query"), expected, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_conversion_leaves_the_model_as_it_is(model: SentenceTransformer, tmp_path: Path, precision: Precision) -> None:
    """The library quantizes in place: the model would go on with weights that are 8 bits wide and far too large."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    transformer = ctranslate2_encoder.transformer_of(model)
    assert transformer is not None
    convert(transformer, tmp_path / "model", compute_type=precision, config={"position_embedding_type": "absolute"})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_is_converted_once(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(SentenceTransformer(str(model_folder), device="cpu"), tmp_path).encode(TEXTS)
    monkeypatch.setattr(ctranslate2_encoder, "convert", lambda *_, **__: pytest.fail("it was converted again"))
    again = make(SentenceTransformer(str(model_folder), device="cpu"), tmp_path).encode(TEXTS)
    np.testing.assert_array_equal(first, again)


def test_other_weights_are_another_conversion(tmp_path: Path, model_folder: Path) -> None:
    """A training that is repeated has the same name and, on another GPU, other weights."""
    one = SentenceTransformer(str(model_folder), device="cpu")
    other = SentenceTransformer(str(build_model(tmp_path / "other", seed=8)), device="cpu")
    expected = other.encode(TEXTS, normalize_embeddings=True)
    make(one, tmp_path / "cache")
    np.testing.assert_allclose(make(other, tmp_path / "cache").encode(TEXTS), expected, atol=1e-5)


def test_tasks_that_come_together_convert_once(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [SentenceTransformer(str(model_folder), device="cpu") for _ in range(3)]
    expected = models[0].encode(TEXTS, normalize_embeddings=True)
    made: list[Path] = []

    def convert_and_count(*arguments: Any, **options: Any) -> Path:
        made.append(convert(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(ctranslate2_encoder, "convert", convert_and_count)
    encoders: list[CTranslate2Encoder] = []
    tasks = [threading.Thread(target=lambda one=one: encoders.append(make(one, tmp_path))) for one in models]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert len(made) == 1
    assert len(encoders) == 3
    for encoder in encoders:
        np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)


def test_a_conversion_with_other_vectors_is_not_used(
    model: SentenceTransformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = model.encode(TEXTS, normalize_embeddings=True)

    def convert_badly(transformer: Any, folder: Path, **options: Any) -> Path:
        with torch.no_grad():
            kept = [weights.clone() for weights in transformer.parameters()]
            for weights in transformer.parameters():
                weights.mul_(1.5)
            made = convert(transformer, folder, **options)
            for weights, value in zip(transformer.parameters(), kept, strict=True):
                weights.copy_(value)
        return made

    monkeypatch.setattr(ctranslate2_encoder, "convert", convert_badly)
    for _ in range(2):
        with pytest.raises(EncoderError, match="cosine"):
            make(model, tmp_path)
    np.testing.assert_array_equal(model.encode(TEXTS, normalize_embeddings=True), expected)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_a_conversion_that_is_killed_leaves_nothing_that_looks_finished(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(ctranslate2_encoder, "least_cosine", killed)
    model = SentenceTransformer(str(model_folder), device="cpu")
    with pytest.raises(KeyboardInterrupt):
        make(model, tmp_path)
    monkeypatch.undo()
    expected = model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(make(model, tmp_path).encode(TEXTS), expected, atol=1e-5)


def test_conversions_that_nobody_uses_are_deleted(folders: dict[str, Path], tmp_path: Path) -> None:
    make(SentenceTransformer(str(folders["minilm"]), device="cpu"), tmp_path)
    (old,) = tmp_path.glob("encoder-*[!k]")
    os.utime(old, (0, 0))
    make(SentenceTransformer(str(folders["minilm"]), device="cpu"), tmp_path)
    assert old.is_dir(), "it was just used"
    os.utime(old, (0, 0))
    make(SentenceTransformer(str(folders["distiluse"]), device="cpu"), tmp_path)
    assert not old.exists()
    assert len(list(tmp_path.glob("encoder-*[!k]"))) == 1


def test_a_model_of_another_kind_is_refused(
    model: SentenceTransformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctranslate2_encoder, "ARCHITECTURES", {"distilbert"})
    with pytest.raises(EncoderError, match="does not know"):
        make(model, tmp_path)
