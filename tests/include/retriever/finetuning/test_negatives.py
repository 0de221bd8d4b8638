"""Hard negatives are hard, and negatives."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from sentence_transformers import SentenceTransformer

from include.retriever.finetuning.negatives import add_hard_negatives, add_labels
from include.retriever.finetuning.trainer import load_guide
from include.retriever.manifest import ModelManifest
from include.retriever.recipe import Recipe
from tests.include.retriever.conftest import toy_pairs
from tests.include.retriever.finetuning.workshop import RECIPE, assert_same_weights, tune, weights
from tests.models import build_cross_encoder

TWO = Recipe(hard_negatives=2, negative_margin=0.0)


class WordsInCommon:
    """A judge of texts that goes by words."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def predict(self, pairs: Sequence[tuple[str, str]], **_: Any) -> torch.Tensor:
        self.asked += pairs
        return torch.tensor([float(len(set(one.split()) & set(other.split()))) for one, other in pairs])


def negatives(table: pa.Table, recipe: Recipe) -> list[list[str]]:
    columns = [table[f"negative_{number + 1}"].to_pylist() for number in range(recipe.hard_negatives)]
    return [list(row) for row in zip(*columns, strict=True)]


def test_a_negative_is_never_of_the_pairs_own_group(model: SentenceTransformer) -> None:
    pairs = toy_pairs()
    groups: dict[str, set[str]] = {}
    for row in pairs.to_pylist():
        groups.setdefault(row["positive"], set()).add(row["group"])
    found = negatives(add_hard_negatives(pairs, model, TWO, judge=None, batch_size=32), TWO)
    for row, own in zip(pairs.to_pylist(), found, strict=True):
        assert len(set(own)) == 2
        assert all(row["group"] not in groups[text] for text in own)


def test_negatives_are_like_the_query_but_less_than_its_positive(
    undisturbed: tuple[Path, ModelManifest], caplog: pytest.LogCaptureFixture
) -> None:
    pairs = toy_pairs()
    model = SentenceTransformer(str(undisturbed[0] / "model"), device="cpu")
    recipe = Recipe(hard_negatives=2, negative_margin=0.1)
    with caplog.at_level(logging.INFO):
        table = add_hard_negatives(pairs, model, recipe, judge=None, batch_size=32)
    queries, positives = (model.encode(pairs[name].to_pylist()) for name in ("query", "positive"))
    hard = model.encode(table["negative_1"].to_pylist())
    to_positive, to_hard = (queries * positives).sum(axis=1), (queries * hard).sum(axis=1)
    to_any = queries @ positives.T
    share = (to_hard <= 0.9 * to_positive + 1e-5).mean()
    assert share > 0.9, "where there is none, it is drawn"
    assert to_hard.mean() > to_any.mean() + to_any.std() / 2
    assert "Hard negatives: " in caplog.text


def test_too_small_a_catalogue_is_filled_up_with_what_there_is(model: SentenceTransformer) -> None:
    pairs = toy_pairs(train=6, evaluation=0)
    recipe = Recipe(hard_negatives=4, negative_margin=0.99)
    table = add_hard_negatives(pairs, model, recipe, judge=None, batch_size=32)
    assert len(table) == 6
    for row, own in zip(pairs.to_pylist(), negatives(table, recipe), strict=True):
        partner = {other["positive"] for other in pairs.to_pylist() if other["group"] == row["group"]}
        assert len(own) == 4
        assert not partner & set(own)


def test_the_same_negatives_each_time(model: SentenceTransformer) -> None:
    tables = [add_hard_negatives(toy_pairs(), model, TWO, judge=None, batch_size=size) for size in (32, 32)]
    assert tables[0].equals(tables[1])


def test_a_judge_has_the_last_word(model: SentenceTransformer) -> None:
    """What shares as many words with the query as its positive does may well be an answer."""
    pairs = toy_pairs(train=60, evaluation=0)
    recipe = Recipe(hard_negatives=1, negative_margin=0.5, cross_encoder="judge")
    judge = WordsInCommon()
    table = add_hard_negatives(pairs, model, recipe, judge=judge, batch_size=32)  # type: ignore[arg-type]
    assert judge.asked
    common = [len(set(row["query"].split()) & set(row["negative_1"].split())) for row in table.to_pylist()]
    positive = [len(set(row["query"].split()) & set(row["positive"].split())) for row in table.to_pylist()]
    assert sum(one <= other / 2 for one, other in zip(common, positive, strict=True)) > 50
    assert max(common) > 0, "and they share something, or they would not be hard"


def test_a_teacher_scores_each_text_pair_once() -> None:
    pairs = toy_pairs(train=4, evaluation=0)
    rows = pairs.to_pylist()
    pairs = pairs.append_column("negative_1", pa.array([rows[(n + 1) % 4]["positive"] for n in range(4)]))
    teacher = WordsInCommon()
    twice = pa.concat_tables([pairs, pairs])
    table = add_labels(twice, teacher, batch_size=32)  # type: ignore[arg-type]
    assert len(teacher.asked) == len(set(teacher.asked)) == 8
    for row in table.to_pylist():
        words = [set(row[name].split()) for name in ("query", "positive", "negative_1")]
        assert row["label"] == [len(words[0] & words[1]), len(words[0] & words[2])]


@pytest.fixture(scope="module")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder of two layers, random weights, on disk."""
    return build_cross_encoder(tmp_path_factory.mktemp("judge"))


@pytest.mark.parametrize("option", ["hard negatives", "judge", "teacher", "guide", "matryoshka"])
def test_each_option_trains_and_makes_another_model(
    option: str,
    tmp_path: Path,
    model_folder: Path,
    base: ModelManifest,
    judge_folder: Path,
    undisturbed: tuple[Path, ModelManifest],
) -> None:
    options: dict[str, dict[str, Any]] = {
        "hard negatives": {"hard_negatives": 2},
        "judge": {"hard_negatives": 1, "cross_encoder": str(judge_folder)},
        "teacher": {"hard_negatives": 2, "teacher": str(judge_folder)},
        "guide": {"guide": "base"},
        "matryoshka": {"matryoshka": [16, 8]},
    }
    recipe = RECIPE.model_copy(update=options[option])
    manifest = tune(tmp_path, model_folder, base, recipe=recipe)
    assert manifest.version != undisturbed[1].version
    if option != "teacher":  # one of random weights teaches nothing
        assert manifest.metrics["after"]["MRR@5"] > manifest.metrics["before"]["MRR@5"]
    card = (tmp_path / "model" / "README.md").read_text()
    texts = [text for column in ("query", "positive") for text in toy_pairs()[column].to_pylist()]
    assert not [text for text in texts if text in card]
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path, undisturbed[0])
    assert weights(tmp_path).keys() == weights(undisturbed[0]).keys(), "no guide is saved with it"


def test_a_guide_is_frozen(model_folder: Path) -> None:
    guide = load_guide("base", model_folder, "cpu")
    assert not any(values.requires_grad for values in guide.parameters())
    assert not guide.training
