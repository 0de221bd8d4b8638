from __future__ import annotations

from pathlib import Path

import pytest
import torch

from include.queries.doc2query import conversion
from include.queries.doc2query.conversion import convert, converted
from include.queries.doc2query.ctranslate2_engine import CTranslate2Engine
from include.queries.doc2query.engine import GeneratorModelError, TokenizedText
from include.queries.doc2query.parity import PAIRS, compare, require_parity
from include.queries.doc2query.sampling import Sampling
from tests.include.queries.doc2query.conftest import Tiny


def engine(folder: Path, kind: str = "float32") -> CTranslate2Engine:
    return CTranslate2Engine(folder, kind=kind, sampling=Sampling(), steps=12, device="cpu", threads=1, batch_size=4)


def test_a_converted_model_computes_what_transformers_does(each: Tiny, tmp_path: Path) -> None:
    """T5 v1.1 does not scale the decoder's output, the first T5 does: the converter asks the wrong setting."""
    made = engine(convert(each.model, tmp_path / "model", kind="float32"))
    parity = require_parity(made, each.model, each.tokenizer, kind="float32")
    assert parity.tokens > 50
    assert parity.largest < 1e-3
    assert parity.regret < 1e-3


def test_a_model_as_the_library_converts_it_is_refused(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "scales_output", lambda config: config.tie_word_embeddings)
    made = engine(convert(tiny.model, tmp_path / "model", kind="float32"))
    with pytest.raises(GeneratorModelError, match="PODSEARCH_GENERATOR_ENGINE=torch"):
        require_parity(made, tiny.model, tiny.tokenizer, kind="float32")
    # Nobody would see it in the likeliest tokens.
    assert compare(made, tiny.model, tiny.tokenizer).regret < 1e-3


def test_eight_bits_are_close_and_the_wrong_scale_is_not(
    trained: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [
        ("sleep night bed dream tired insomnia.", "why sleep night"),
        ("soup onion pan salt.", "what is onion salt"),
    ]
    right = engine(convert(trained.model, tmp_path / "right", kind="int8"), "int8")
    parity = require_parity(right, trained.model, trained.tokenizer, kind="int8", pairs=pairs)
    assert parity.mean < 0.15  # 0.3 if sums of 16 bits overflow
    monkeypatch.setattr(conversion, "scales_output", lambda config: config.tie_word_embeddings)
    wrong = engine(convert(trained.model, tmp_path / "wrong", kind="int8"), "int8")
    with pytest.raises(GeneratorModelError, match="int8"):
        require_parity(wrong, trained.model, trained.tokenizer, kind="int8", pairs=pairs)


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_conversion_leaves_the_model_as_it_is(tiny: Tiny, tmp_path: Path, kind: str) -> None:
    """The library scales weights in place: what a converted model is compared with would be broken, too."""
    before = {name: weights.clone() for name, weights in tiny.model.state_dict().items()}
    convert(tiny.model, tmp_path / "model", kind=kind)
    assert all(torch.equal(weights, before[name]) for name, weights in tiny.model.state_dict().items())


def test_a_model_is_converted_once_for_each_number_format(tiny: Tiny, tmp_path: Path) -> None:
    folder = converted(tiny.source, lambda: tiny.model, kind="float32", cache=tmp_path)
    assert converted(tiny.source, lambda: pytest.fail("converted again"), kind="float32", cache=tmp_path) == folder
    assert converted(tiny.source, lambda: tiny.model, kind="int8", cache=tmp_path) != folder


def test_a_conversion_that_fails_leaves_nothing_behind(tiny: Tiny, tmp_path: Path) -> None:
    def broken() -> None:
        raise GeneratorModelError("no")

    with pytest.raises(GeneratorModelError):
        converted(tiny.source, broken, kind="float32", cache=tmp_path)  # type: ignore[arg-type]
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    assert converted(tiny.source, lambda: tiny.model, kind="float32", cache=tmp_path).is_dir()


def test_a_damaged_converted_model_says_what_to_remove(tiny: Tiny, tmp_path: Path) -> None:
    folder = converted(tiny.source, lambda: tiny.model, kind="float32", cache=tmp_path)
    weights = folder / "model.bin"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(GeneratorModelError, match=str(folder)):
        engine(folder).sample([TokenizedText("a", (5, 1))], 1, 1, lambda _: None)


def test_the_texts_of_the_check_are_longer_than_what_is_asked_of_them() -> None:
    assert all(len(text.split()) > 2 * len(query.split()) for text, query in PAIRS)
