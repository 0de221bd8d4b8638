from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling

from include.conversion.transformers import convert
from include.retriever.encoders import conversion, converted
from include.retriever.encoders.contract import EncoderError, TextKind
from include.retriever.encoders.converted import open_converted
from include.retriever.encoders.ctranslate2_encoder import CTranslate2Encoder
from include.retriever.encoders.precision import Precision
from include.settings import PROJECT
from tests.include.retriever.encoders.texts import ODD, some_texts, tokens_of
from tests.models import build_distiluse, build_model

TEXTS = [*some_texts(40), *ODD]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two shapes of models that we use."""
    folder = tmp_path_factory.mktemp("models")
    return {"minilm": build_model(folder / "minilm"), "distiluse": build_distiluse(folder / "distiluse")}


@pytest.fixture(params=["minilm", "distiluse"])
def either(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


def load(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu")


def vectors_of(folder: Path) -> Any:
    return load(folder).encode(TEXTS, normalize_embeddings=True)


def changed(folder: Path, target: Path, change: Any) -> Path:
    """A copy of a model, after something was done to it."""
    model = load(folder)
    change(model)
    model.save_pretrained(str(target))
    return target


def make(folder: Path, cache: Path, *, precision: Precision = "float32", threads: int = 1) -> CTranslate2Encoder:
    return open_converted(folder, precision=precision, threads=threads, cache=cache)


@pytest.mark.parametrize("threads", [1, 3])
def test_vectors_are_those_of_pytorch(either: Path, tmp_path: Path, threads: int) -> None:
    expected = vectors_of(either)
    encoder = make(either, tmp_path, threads=threads)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=1), expected, atol=1e-5)
    assert encoder.encode([]).shape == (0, expected.shape[1])
    assert encoder.tokens == 2 * tokens_of(load(either), TEXTS), "padding is not counted"


def test_vectors_with_8_bits_are_close(either: Path, tmp_path: Path) -> None:
    vectors = make(either, tmp_path, precision="int8").encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert 0.98 < (vectors * vectors_of(either)).sum(axis=1).min() < 1 - 1e-6, "8 bits were not used, or not well"


@pytest.mark.parametrize("kind", ["query", "document"])
def test_prompts_are_put_before(either: Path, tmp_path: Path, kind: TextKind) -> None:
    def prompted(model: SentenceTransformer) -> None:
        model.prompts = {"query": "what tells of ", "document": "soup: "}

    folder = changed(either, tmp_path / "model", prompted)
    model = load(folder)
    encode = model.encode_query if kind == "query" else model.encode_document
    expected = encode(TEXTS[:10], normalize_embeddings=True)
    vectors = make(folder, tmp_path).encode(TEXTS[:10], kind=kind)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert np.abs(vectors - make(either, tmp_path).encode(TEXTS[:10], kind=kind)).max() > 0.01


def test_the_first_tokens_vector_may_be_the_texts(either: Path, tmp_path: Path) -> None:
    def first_token(model: SentenceTransformer) -> None:
        pooling = model[1]
        assert isinstance(pooling, Pooling)
        pooling.pooling_mode = "cls"

    folder = changed(either, tmp_path / "model", first_token)
    np.testing.assert_allclose(make(folder, tmp_path).encode(TEXTS), vectors_of(folder), atol=1e-5)


def test_vectors_may_be_cut(either: Path, tmp_path: Path) -> None:
    def cut(model: SentenceTransformer) -> None:
        model.truncate_dim = 8

    folder = changed(either, tmp_path / "model", cut)
    assert vectors_of(folder).shape == (len(TEXTS), 8)
    np.testing.assert_allclose(make(folder, tmp_path).encode(TEXTS), vectors_of(folder), atol=1e-5)


OPENING = """
import sys
from pathlib import Path
from include.retriever.encoders.opening import open_folder
vectors = open_folder(Path(sys.argv[1]), "float32", "cpu", cache=Path(sys.argv[2])).encode(["sleep"], kind="query")
print(vectors.shape, sorted({"torch", "transformers", "sentence_transformers"} & set(sys.modules)))
"""


def test_what_is_converted_is_opened_without_pytorch(folders: dict[str, Path], tmp_path: Path) -> None:
    """It takes several seconds to import, and hundreds of megabytes."""
    make(folders["minilm"], tmp_path)
    command = [sys.executable, "-c", OPENING, str(folders["minilm"]), str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 32) []"


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_conversion_leaves_the_model_as_it_is(model: SentenceTransformer, tmp_path: Path, precision: Precision) -> None:
    """The library quantizes in place: the vectors would be compared with those of weights that are far too large."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    transformer = model.transformers_model
    assert transformer is not None
    convert(transformer, tmp_path / "model", compute_type=precision, config={"position_embedding_type": "absolute"})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_is_converted_once(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(model_folder, tmp_path).encode(TEXTS)
    monkeypatch.setattr(conversion, "convert", lambda *_, **__: pytest.fail("it was converted again"))
    np.testing.assert_array_equal(first, make(model_folder, tmp_path).encode(TEXTS))


def test_what_says_nothing_of_the_vectors_does_not_matter(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version in another precision has a manifest of its own, and the same files."""
    make(model_folder, tmp_path / "cache")
    copy = shutil.copytree(model_folder, tmp_path / "copy")
    (copy / "manifest.json").write_text(json.dumps({"version": "another"}))
    (copy / "README.md").write_text("Another card.")
    monkeypatch.setattr(conversion, "convert", lambda *_, **__: pytest.fail("it was converted again"))
    make(copy, tmp_path / "cache")


def test_other_weights_are_another_conversion(tmp_path: Path, model_folder: Path) -> None:
    """A training that is repeated has the same name and, on another GPU, other weights."""
    other = build_model(tmp_path / "other", seed=8)
    make(model_folder, tmp_path / "cache")
    np.testing.assert_allclose(make(other, tmp_path / "cache").encode(TEXTS), vectors_of(other), atol=1e-5)


def test_tasks_that_come_together_convert_once(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def convert_and_count(*arguments: Any, **options: Any) -> Path:
        made.append(convert(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(conversion, "convert", convert_and_count)
    encoders: list[CTranslate2Encoder] = []
    tasks = [threading.Thread(target=lambda: encoders.append(make(model_folder, tmp_path))) for _ in range(3)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert len(made) == 1
    assert len(encoders) == 3
    for encoder in encoders:
        np.testing.assert_allclose(encoder.encode(TEXTS), vectors_of(model_folder), atol=1e-5)


def test_a_conversion_with_other_vectors_is_not_used(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert_badly(transformer: Any, folder: Path, **options: Any) -> Path:
        with torch.no_grad():
            kept = [weights.clone() for weights in transformer.parameters()]
            for weights in transformer.parameters():
                weights.mul_(1.5)
            made = convert(transformer, folder, **options)
            for weights, value in zip(transformer.parameters(), kept, strict=True):
                weights.copy_(value)
        return made

    monkeypatch.setattr(conversion, "convert", convert_badly)
    for _ in range(2):
        with pytest.raises(EncoderError, match="cosine"):
            make(model_folder, tmp_path)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_a_conversion_that_is_killed_leaves_nothing_that_looks_finished(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "least_cosine", killed)
    with pytest.raises(KeyboardInterrupt):
        make(model_folder, tmp_path)
    monkeypatch.undo()
    np.testing.assert_allclose(make(model_folder, tmp_path).encode(TEXTS), vectors_of(model_folder), atol=1e-5)


def test_conversions_that_nobody_uses_are_deleted(folders: dict[str, Path], tmp_path: Path) -> None:
    make(folders["minilm"], tmp_path)
    (old,) = tmp_path.glob("encoder-*[!k]")
    os.utime(old, (0, 0))
    make(folders["minilm"], tmp_path)
    assert old.is_dir(), "it was just used"
    os.utime(old, (0, 0))
    make(folders["distiluse"], tmp_path)
    assert not old.exists()
    assert len(list(tmp_path.glob("encoder-*[!k]"))) == 1


def test_a_model_of_another_kind_is_refused(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converted, "ARCHITECTURES", {"distilbert"})
    with pytest.raises(EncoderError, match="does not know"):
        make(model_folder, tmp_path)


def test_what_follows_the_transformer_must_be_known(model_folder: Path, tmp_path: Path) -> None:
    def largest(model: SentenceTransformer) -> None:
        pooling = model[1]
        assert isinstance(pooling, Pooling)
        pooling.pooling_mode = "max"

    with pytest.raises(EncoderError, match="pooling"):
        make(changed(model_folder, tmp_path / "model", largest), tmp_path / "cache")
