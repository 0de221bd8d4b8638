from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer

from include.retriever.finetuning import run as module
from include.retriever.finetuning.hardware import Hardware
from include.retriever.finetuning.run import TrainingError, model_version
from include.retriever.manifest import ModelManifest
from include.retriever.recipe import Recipe
from tests.include.retriever.conftest import toy_pairs
from tests.include.retriever.finetuning.workshop import RECIPE, assert_same_weights, tune


def test_training_lowers_the_loss_and_lifts_the_metrics(undisturbed: tuple[Path, ModelManifest]) -> None:
    _, manifest = undisturbed
    losses = [entry["loss"] for entry in manifest.losses]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert manifest.metrics["after"]["MRR@5"] > manifest.metrics["before"]["MRR@5"]
    assert manifest.metrics["before"].keys() == manifest.metrics["after"].keys() == {"MRR@5", "Recall@1"}


def test_the_manifest_says_what_went_into_the_model(
    undisturbed: tuple[Path, ModelManifest], base: ModelManifest
) -> None:
    _, manifest = undisturbed
    assert manifest.kind == "fine-tuned"
    assert manifest.version == model_version(base.version, "t1", RECIPE)
    assert (manifest.training_id, manifest.snapshot_id, manifest.base_model) == ("t1", "s1", base.base_model)
    assert manifest.recipe == RECIPE.model_dump()
    assert sum(manifest.pairs.values()) == 200
    assert manifest.dimension == base.dimension
    assert {"step", "loss", "learning_rate"} <= manifest.losses[0].keys()


def test_a_model_is_a_card_and_safetensors_and_no_pickle(undisturbed: tuple[Path, ModelManifest]) -> None:
    work, manifest = undisturbed
    files = {path.name for path in (work / "model").rglob("*") if path.is_file()}
    assert {"README.md", "model.safetensors", "modules.json"} <= files
    assert not {name for name in files if name.endswith((".bin", ".pt", ".pth", ".pkl"))}
    card = (work / "model" / "README.md").read_text()
    assert manifest.version in card
    assert "podcast search" in card


def test_the_card_copies_nothing_of_the_catalogue(undisturbed: tuple[Path, ModelManifest]) -> None:
    """Nor would it be found again in the index of a registry that others may read."""
    card = (undisturbed[0] / "model" / "README.md").read_text()
    texts = [text for column in ("query", "positive") for text in toy_pairs()[column].to_pylist()]
    assert not [text for text in texts if text in card]


def test_encoding_keeps_the_base_models_own_length(tmp_path: Path, model_folder: Path, base: ModelManifest) -> None:
    """Texts are cut for training only, to save time."""
    short = RECIPE.model_copy(update={"epochs": 1, "max_seq_length": 16})
    manifest = tune(tmp_path, model_folder, base, recipe=short)
    assert manifest.max_seq_length == 96
    assert SentenceTransformer(str(tmp_path / "model"), device="cpu").max_seq_length == 96


def test_same_seed_same_weights(
    tmp_path: Path, model_folder: Path, base: ModelManifest, undisturbed: tuple[Path, ModelManifest]
) -> None:
    tune(tmp_path / "again", model_folder, base)
    assert_same_weights(tmp_path / "again", undisturbed[0])
    tune(tmp_path / "other", model_folder, base, recipe=RECIPE.model_copy(update={"seed": 4}))
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "other", undisturbed[0])


def test_a_batch_holds_no_two_of_a_group_and_no_query_twice(
    tmp_path: Path, model_folder: Path, base: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a batch, each one's positive is the others' negative: near-duplicates would be pushed apart."""
    pairs = toy_pairs()
    queries = pa.array([f"query {n % 50}" for n in range(len(pairs))])
    pairs = pairs.set_column(0, pairs.schema.field("query"), queries)
    tokenizer = SentenceTransformer(str(model_folder), device="cpu").tokenizer
    step = SentenceTransformerTrainer.training_step
    batches: list[list[int]] = []

    def watch(trainer: Any, model: Any, inputs: dict[str, Any], *more: Any) -> Any:
        texts = tokenizer.batch_decode(inputs["positive_input_ids"], skip_special_tokens=True)
        batches.append([int(text.split()[-1]) for text in texts])  # a positive ends in its row's number
        return step(trainer, model, inputs, *more)

    monkeypatch.setattr(SentenceTransformerTrainer, "training_step", watch)
    tune(tmp_path, model_folder, base, pairs=pairs, recipe=RECIPE.model_copy(update={"epochs": 1}))
    rows = pairs.filter(pc.field("split") == "train").to_pylist()
    for batch in batches:
        assert len({rows[number]["group"] for number in batch}) == len(batch)
        assert len({rows[number]["query"] for number in batch}) == len(batch)
    seen = [number for batch in batches for number in batch]
    assert len(set(seen)) == len(seen) >= 198, "a pair is seen once; hardly one is left over"


def test_a_finished_training_is_not_repeated(
    undisturbed: tuple[Path, ModelManifest], model_folder: Path, base: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train_model", lambda *_, **__: pytest.fail("it was trained again"))
    assert tune(undisturbed[0], model_folder, base) == undisturbed[1]


def test_without_eval_pairs_there_are_no_metrics(tmp_path: Path, model_folder: Path, base: ModelManifest) -> None:
    recipe = RECIPE.model_copy(update={"epochs": 1})
    manifest = tune(tmp_path, model_folder, base, pairs=toy_pairs(train=20, evaluation=1), recipe=recipe)
    assert manifest.metrics == {"before": {}, "after": {}}


@pytest.mark.parametrize("train", [0, 1])
def test_too_few_pairs_say_what_to_do(tmp_path: Path, model_folder: Path, base: ModelManifest, train: int) -> None:
    with pytest.raises(TrainingError, match="ingest more episodes"):
        tune(tmp_path, model_folder, base, pairs=toy_pairs(train=train))


def test_a_batch_that_cannot_be_shared_out_says_what_to_do(
    tmp_path: Path, model_folder: Path, base: ModelManifest
) -> None:
    with pytest.raises(TrainingError, match="multiple of 3"):
        tune(tmp_path, model_folder, base, hardware=Hardware(gpus=3))


def test_the_query_prompt_stands_before_queries_in_training_and_ever_after(
    tmp_path: Path, model_folder: Path, base: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = SentenceTransformer(str(model_folder), device="cpu").tokenizer
    step = SentenceTransformerTrainer.training_step
    texts: dict[str, str] = {}

    def watch(trainer: Any, model: Any, inputs: dict[str, Any], *more: Any) -> Any:
        for column in ("anchor", "positive"):
            texts[column] = tokenizer.decode(inputs[f"{column}_input_ids"][0], skip_special_tokens=True)
        return step(trainer, model, inputs, *more)

    monkeypatch.setattr(SentenceTransformerTrainer, "training_step", watch)
    recipe = RECIPE.model_copy(update={"epochs": 1, "query_prompt": "find: "})
    tune(tmp_path, model_folder, base, recipe=recipe)
    assert texts["anchor"].startswith("f i n d") or texts["anchor"].startswith("find")
    assert not texts["positive"].startswith(texts["anchor"][:4])
    model = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert model.encode_query("moon") == pytest.approx(model.encode("find: moon"), abs=1e-6)
    assert model.encode_document("moon") == pytest.approx(model.encode("moon"), abs=1e-6)


@pytest.mark.parametrize(
    "mistake",
    [
        {"teacher": "judge"},
        {"cross_encoder": "judge"},
        {"teacher": "judge", "hard_negatives": 1, "guide": "base"},
        {"sorted_batches": 0},
        {"negative_margin": 1.0},
    ],
    ids=str,
)
def test_a_recipe_that_makes_no_sense_is_refused(mistake: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"hard_negatives|guide|sorted_batches|negative_margin"):
        Recipe(**mistake)


def test_a_recipe_is_the_same_after_a_way_through_json() -> None:
    """The registry compares recipes with those of models that it has on disk."""
    recipe = Recipe(matryoshka=[16, 8], guide="base")
    assert Recipe.model_validate_json(recipe.model_dump_json()).model_dump() == recipe.model_dump()
