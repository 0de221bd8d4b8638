from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer

from include.retriever import finetune as module
from include.retriever.finetune import TrainingError, fine_tune, model_version
from include.retriever.recipe import Recipe
from include.retriever.registry import ModelManifest, ensure_base
from include.storage import ArtifactStore
from tests.include.retriever.conftest import toy_pairs

RECIPE = Recipe(epochs=2, batch_size=16, learning_rate=5e-3, seed=3)
"""200 pairs: 13 steps an epoch or a few more, a checkpoint every 10 steps."""
PROJECT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> ModelManifest:
    return ensure_base(ArtifactStore(tmp_path_factory.mktemp("registry")), str(model_folder), "cpu")


def tune(
    work: Path, model_folder: Path, base: ModelManifest, *, pairs: pa.Table | None = None, recipe: Recipe = RECIPE
) -> ModelManifest:
    folder, manifest = fine_tune(
        SentenceTransformer(str(model_folder), device="cpu"),
        toy_pairs() if pairs is None else pairs,
        base=base,
        training_id="t1",
        snapshot_id="s1",
        recipe=recipe,
        work=work,
    )
    assert folder == work / "model"
    return manifest


def weights(work: Path) -> dict[str, torch.Tensor]:
    return load_file(work / "model" / "model.safetensors")


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, values in first.items():
        torch.testing.assert_close(values, second[name], atol=1e-6, rtol=1e-5, msg=name)


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, model_folder: Path, base: ModelManifest
) -> tuple[Path, ModelManifest]:
    """Where a training that nothing happened to left its work, and its manifest."""
    work = tmp_path_factory.mktemp("undisturbed")
    return work, tune(work, model_folder, base)


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


KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq, torch
from sentence_transformers import SentenceTransformer
from include.retriever import finetune
from include.retriever.recipe import Recipe
from include.retriever.registry import ModelManifest

torch.set_num_threads(1)
work, pairs, model, base, recipe = sys.argv[1:]

def die(callback, args, state, control, **kwargs):
    if state.global_step == 24:
        os.kill(os.getpid(), signal.SIGKILL)

finetune._ProgressLog.on_step_end = die
finetune.fine_tune(SentenceTransformer(model, device="cpu"), pq.read_table(pairs), training_id="t1", snapshot_id="s1",
    base=ModelManifest.model_validate_json(base), recipe=Recipe.model_validate_json(recipe), work=Path(work))
"""


def test_a_killed_training_goes_on_and_ends_in_the_same_weights(
    tmp_path: Path,
    model_folder: Path,
    base: ModelManifest,
    undisturbed: tuple[Path, ModelManifest],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A real process dies of SIGKILL in its second epoch, after a checkpoint; a whole and a half one are left."""
    work = tmp_path / "work"
    pq.write_table(toy_pairs(), tmp_path / "pairs.parquet")
    arguments = [work, tmp_path / "pairs.parquet", model_folder, base.model_dump_json(), RECIPE.model_dump_json()]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)], cwd=tmp_path, env=environment, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    checkpoints = work / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["checkpoint-10", "checkpoint-20"]
    half = shutil.copytree(checkpoints / "checkpoint-20", checkpoints / "checkpoint-24")
    (half / "trainer_state.json").unlink()

    with caplog.at_level(logging.INFO):
        manifest = tune(work, model_folder, base)
    assert "Going on from checkpoint-20." in caplog.messages
    assert_same_weights(work, undisturbed[0])
    assert manifest.metrics == undisturbed[1].metrics
    assert [entry["step"] for entry in manifest.losses] == [entry["step"] for entry in undisturbed[1].losses]


@pytest.mark.parametrize("damage", ["no state", "half a state", "empty"])
def test_a_half_written_checkpoint_is_ignored(tmp_path: Path, damage: str) -> None:
    for step in (9, 10):  # as numbers: 10 is the newer one
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text('{"global_step": 1}')
    (tmp_path / "checkpoint-20").mkdir()
    if damage != "no state":
        text = '{"global_st' if damage == "half a state" else ""
        (tmp_path / "checkpoint-20" / "trainer_state.json").write_text(text)
    assert module._last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert module._last_checkpoint(tmp_path / "nowhere") is None


def test_a_finished_training_is_not_repeated(
    undisturbed: tuple[Path, ModelManifest], model_folder: Path, base: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_trainer", lambda *_: pytest.fail("it was trained again"))
    assert tune(undisturbed[0], model_folder, base) == undisturbed[1]


def test_without_eval_pairs_there_are_no_metrics(tmp_path: Path, model_folder: Path, base: ModelManifest) -> None:
    recipe = RECIPE.model_copy(update={"epochs": 1})
    manifest = tune(tmp_path, model_folder, base, pairs=toy_pairs(train=20, evaluation=1), recipe=recipe)
    assert manifest.metrics == {"before": {}, "after": {}}


@pytest.mark.parametrize("train", [0, 1])
def test_too_few_pairs_say_what_to_do(tmp_path: Path, model_folder: Path, base: ModelManifest, train: int) -> None:
    with pytest.raises(TrainingError, match="ingest more episodes"):
        tune(tmp_path, model_folder, base, pairs=toy_pairs(train=train))
