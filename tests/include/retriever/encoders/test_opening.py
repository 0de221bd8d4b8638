from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from include.retriever.encoders import converted, opening
from include.retriever.encoders.contract import EncoderError
from include.retriever.encoders.ctranslate2_encoder import CTranslate2Encoder
from include.retriever.encoders.opening import open_encoder, open_folder
from include.retriever.encoders.variants import ensure_precision
from include.retriever.registry import ensure_base
from include.storage import ArtifactStore
from tests.include.retriever.encoders.texts import some_texts

TEXTS = some_texts(20)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def version(store: ArtifactStore, model_folder: Path) -> str:
    return ensure_base(store, str(model_folder), "cpu").version


def test_each_way_of_opening_a_model_gives_its_vectors(
    store: ArtifactStore, version: str, model: SentenceTransformer
) -> None:
    expected = model.encode(TEXTS, normalize_embeddings=True)
    quick, plain, small = (
        open_encoder(store, version, "cpu"),
        open_encoder(store, version, "cpu", engine="torch"),
        open_encoder(store, ensure_precision(store, version, "int8").version, "cpu"),
    )
    assert isinstance(quick, CTranslate2Encoder)
    assert not isinstance(plain, CTranslate2Encoder)
    np.testing.assert_allclose(quick.encode(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(plain.encode(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(small.encode(TEXTS), expected, atol=0.1)
    assert np.abs(small.encode(TEXTS) - expected).max() > 1e-4


def test_8_bits_are_8_bits_whatever_the_engine(store: ArtifactStore, version: str) -> None:
    """A namespace of such vectors must not get others."""
    small = ensure_precision(store, version, "int8").version
    auto, torch_only = (open_encoder(store, small, "cpu", engine=engine) for engine in ("auto", "torch"))
    np.testing.assert_array_equal(auto.encode(TEXTS), torch_only.encode(TEXTS))


def test_a_model_that_cannot_be_converted_is_used_as_it_is(
    model_folder: Path, model: SentenceTransformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converted, "ARCHITECTURES", {"distilbert"})
    expected = model.encode(TEXTS, normalize_embeddings=True)
    encoder = open_folder(model_folder, "float32", "cpu", cache=tmp_path)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)
    with pytest.raises(EncoderError, match=r"8 bits.*Use float32"):
        open_folder(model_folder, "int8", "cpu", cache=tmp_path)


def test_where_nothing_can_be_written_the_model_is_used_as_it_is(
    model_folder: Path, model: SentenceTransformer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    encoder = open_folder(model_folder, "float32", "cpu", cache=tmp_path / "file" / "cache")
    expected = model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)
    assert "cannot be kept in" in caplog.text


def test_what_was_converted_is_used_where_nothing_can_be_written(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_folder(model_folder, "float32", "cpu", cache=tmp_path)

    def read_only(*_: object, **__: object) -> None:
        raise PermissionError("Read-only file system")

    monkeypatch.setattr("os.utime", read_only)
    monkeypatch.setattr("include.conversion.cache.FileLock", read_only)
    assert isinstance(open_folder(model_folder, "float32", "cpu", cache=tmp_path), CTranslate2Encoder)


def test_16_bits_on_a_cpu_are_32(model_folder: Path, model: SentenceTransformer, tmp_path: Path) -> None:
    expected = model.encode(TEXTS, normalize_embeddings=True)
    encoder = open_folder(model_folder, "float16", "cpu", cache=tmp_path)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)


def test_16_bits_that_change_the_vectors_are_refused(model_folder: Path, tmp_path: Path) -> None:
    """What is done on a GPU, done on a CPU; the second model's numbers are too large for 16 bits."""
    expected = SentenceTransformer(str(model_folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(opening._half(model_folder, "cpu").encode(TEXTS), expected, atol=0.02)
    bad = SentenceTransformer(str(model_folder), device="cpu")
    with torch.no_grad():
        for name, weights in bad.named_parameters():
            if name.endswith("LayerNorm.weight"):
                weights.mul_(1e6)
    bad.save_pretrained(str(tmp_path / "bad"))
    with pytest.raises(EncoderError, match=r"16 bits.*Use float32"):
        opening._half(tmp_path / "bad", "cpu")


def test_conversions_are_kept_with_the_artifacts(store: ArtifactStore, version: str, tmp_path: Path) -> None:
    """So that whoever removes what was generated removes them, too."""
    open_encoder(store, version, "cpu")
    assert list((tmp_path / "artifacts" / opening.FOLDER).glob("encoder-*"))
