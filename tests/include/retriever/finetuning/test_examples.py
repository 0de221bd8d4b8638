from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from sentence_transformers import SentenceTransformer

from include.retriever.finetuning import examples as module
from include.retriever.finetuning.examples import create_sampler, prepare_examples, training_texts
from include.retriever.recipe import Recipe
from tests.include.retriever.conftest import toy_pairs
from tests.include.retriever.finetuning.workshop import RECIPE


def test_what_was_mined_is_not_mined_again(
    tmp_path: Path, model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(hard_negatives=2, negative_margin=0.0)
    first = prepare_examples(model, toy_pairs(), recipe, device="cpu", work=tmp_path)
    monkeypatch.setattr(module, "add_hard_negatives", lambda *_, **__: pytest.fail("it was mined again"))
    assert prepare_examples(model, toy_pairs(), recipe, device="cpu", work=tmp_path).equals(first)
    assert training_texts(first).column_names == ["anchor", "positive", "negative_1", "negative_2"]


def test_weights_of_pairs_reach_the_sampler(tmp_path: Path, model: SentenceTransformer) -> None:
    pairs = toy_pairs()
    plain = prepare_examples(model, pairs, RECIPE, device="cpu", work=tmp_path / "plain")
    assert create_sampler(plain, model, RECIPE).weights is None
    position = pairs.column_names.index("weight")
    heavier = pairs.set_column(position, "weight", pa.array([2.0] + [1.0] * (len(pairs) - 1)))
    examples = prepare_examples(model, heavier, RECIPE, device="cpu", work=tmp_path / "heavier")
    drawn = create_sampler(examples, model, RECIPE).weights
    assert drawn is not None
    assert drawn.tolist() == heavier["weight"].to_pylist()


def test_lengths_are_told_in_tokens_where_pairs_are_sorted_by_them(tmp_path: Path, model: SentenceTransformer) -> None:
    pairs = toy_pairs(train=20, evaluation=0)
    examples = prepare_examples(model, pairs, RECIPE, device="cpu", work=tmp_path)
    texts = pairs["positive"].to_pylist()
    sorting = RECIPE.model_copy(update={"sorted_batches": 2})
    tokens = [len(ids) for ids in model.tokenizer(texts)["input_ids"]]
    assert create_sampler(examples, model, sorting).lengths.tolist() == tokens
    assert create_sampler(examples, model, RECIPE).lengths.tolist() == [len(text) for text in texts]
    model.max_seq_length = 5
    assert set(create_sampler(examples, model, sorting).lengths.tolist()) == {5}
