from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from include.queries.doc2query.engine import GeneratorModelError
from include.queries.doc2query.load import load_model, load_tokenizer, locate
from tests.include.queries.doc2query.conftest import Tiny


@pytest.fixture
def folder(tiny: Tiny, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny.source.folder, tmp_path / "model"))


def test_a_folder_is_known_by_what_is_in_it(tiny: Tiny, first: Tiny, folder: Path) -> None:
    assert locate(str(folder), None).identity == tiny.source.identity != first.source.identity
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert locate(str(folder), None).identity != tiny.source.identity


def cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def lose_a_layer(folder: Path) -> None:
    """transformers would draw it at random, and say so in a warning."""
    weights = load_file(folder / "model.safetensors")
    del weights["decoder.block.1.layer.1.EncDecAttention.q.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def become_a_bert(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))


@pytest.mark.parametrize("harm", [cut, lose_a_layer, become_a_bert])
def test_a_damaged_or_another_model_is_refused(folder: Path, harm: Callable[[Path], None]) -> None:
    harm(folder)
    with pytest.raises(GeneratorModelError, match=str(folder)):
        load_model(locate(str(folder), None))


def test_pickled_weights_are_not_loaded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(GeneratorModelError, match="safetensors"):
        locate(str(folder), None)


def test_a_damaged_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(GeneratorModelError, match="tokenizer"):
        load_tokenizer(locate(str(folder), None))
