"""A killed training goes on from its last checkpoint and ends in what it would have ended in."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch

from include.retriever.finetuning import trainer as module
from include.retriever.finetuning.checkpoints import last_checkpoint
from include.retriever.manifest import ModelManifest
from include.retriever.recipe import Recipe
from tests.include.retriever.finetuning.workshop import assert_same_weights, tune, tune_and_die

PICKY = Recipe(epochs=14, batch_size=16, learning_rate=5e-2, seed=3, patience=2, sorted_batches=4)
"""So high a learning rate soon makes it worse."""


def test_a_killed_training_goes_on_and_ends_in_the_same_weights(
    tmp_path: Path,
    model_folder: Path,
    base: ModelManifest,
    undisturbed: tuple[Path, ModelManifest],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A real process dies of SIGKILL in its second epoch, after a checkpoint; a whole and a half one are left."""
    work = tmp_path / "work"
    tune_and_die(24, work, model_folder, base)
    checkpoints = work / "checkpoints"
    assert sorted(path.name for path in checkpoints.glob("check*")) == ["checkpoint-10", "checkpoint-20"]
    half = shutil.copytree(checkpoints / "checkpoint-20", checkpoints / "checkpoint-24")
    (half / "trainer_state.json").unlink()

    with caplog.at_level(logging.INFO):
        manifest = tune(work, model_folder, base)
    assert "Resuming from checkpoint-20." in caplog.messages
    assert_same_weights(work, undisturbed[0])
    assert manifest.metrics == undisturbed[1].metrics
    assert manifest.evaluations == undisturbed[1].evaluations
    assert [entry["step"] for entry in manifest.losses] == [entry["step"] for entry in undisturbed[1].losses]


@pytest.fixture(scope="module")
def picky(
    tmp_path_factory: pytest.TempPathFactory, model_folder: Path, base: ModelManifest
) -> tuple[Path, ModelManifest]:
    work = tmp_path_factory.mktemp("picky")
    return work, tune(work, model_folder, base, recipe=PICKY)


def test_the_training_ends_early_and_its_best_is_kept(picky: tuple[Path, ModelManifest]) -> None:
    _, manifest = picky
    scores = [entry["MRR@5"] for entry in manifest.evaluations]
    best = scores.index(max(scores))
    assert len(scores) == best + 1 + PICKY.patience
    assert manifest.evaluations[-1]["step"] < 13 * PICKY.epochs
    assert manifest.metrics["after"]["MRR@5"] == pytest.approx(scores[best], abs=1e-6)
    assert scores[best] > scores[-1]


@pytest.mark.parametrize("moment", ["before the best", "after the best", "after the end"])
def test_a_killed_training_keeps_the_same_best(
    moment: str,
    tmp_path: Path,
    model_folder: Path,
    base: ModelManifest,
    picky: tuple[Path, ModelManifest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, manifest = picky
    scores = {entry["step"]: entry["MRR@5"] for entry in manifest.evaluations}
    best = int(max(scores, key=lambda step: scores[step]))
    work = tmp_path / "work"
    if moment == "after the end":
        shutil.copytree(whole, work)
        shutil.rmtree(work / "model")
        (work / "model.json").unlink()
        for state in (work / "checkpoints").glob("checkpoint-*/trainer_state.json"):
            state.write_text(state.read_text().replace(str(whole), str(work)))
        monkeypatch.setattr(module.Trainer, "train", lambda *_, **__: pytest.fail("it was at its end"))
    else:
        tune_and_die(best + (-2 if moment == "before the best" else 2), work, model_folder, base, recipe=PICKY)
    again = tune(work, model_folder, base, recipe=PICKY)
    assert_same_weights(work, whole)
    assert (again.evaluations, again.metrics) == (manifest.evaluations, manifest.metrics)


def test_a_best_that_cannot_be_read_is_no_reason_to_keep_the_last(
    tmp_path: Path, model_folder: Path, base: ModelManifest, picky: tuple[Path, ModelManifest]
) -> None:
    work = tmp_path / "work"
    shutil.copytree(picky[0], work)
    (work / "model.json").unlink()
    for state in (work / "checkpoints").glob("checkpoint-*/trainer_state.json"):
        state.write_text(state.read_text().replace(str(picky[0]), str(work)))
    best = min((work / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    (best / "model.safetensors").unlink()
    with pytest.raises(OSError, match="safetensors"):
        tune(work, model_folder, base, recipe=PICKY)


def test_the_last_weights_are_kept_where_the_best_are_not_asked_for(
    tmp_path: Path, model_folder: Path, base: ModelManifest
) -> None:
    recipe = PICKY.model_copy(update={"patience": 0, "epochs": 4})
    manifest = tune(tmp_path, model_folder, base, recipe=recipe)
    assert [entry["step"] for entry in manifest.evaluations] == [10, 20, 30, 40, 50, 52]
    assert manifest.metrics["after"]["MRR@5"] == pytest.approx(manifest.evaluations[-1]["MRR@5"], abs=1e-6)


@pytest.mark.parametrize("damage", ["no state", "half a state", "empty", "no random state", "half a random state"])
def test_a_half_written_checkpoint_is_ignored(tmp_path: Path, damage: str) -> None:
    for step in (9, 10, 20):  # as numbers: 10 is newer than 9
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text('{"global_step": 1}')
        for rank in (0, 1):
            torch.save({"cpu": torch.zeros(5000)}, tmp_path / f"checkpoint-{step}" / f"rng_state_{rank}.pth")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-20"
    state, random_state = (tmp_path / "checkpoint-20" / name for name in ("trainer_state.json", "rng_state_1.pth"))
    if damage == "no state":
        state.unlink()
    elif damage == "no random state":
        for rank in (0, 1):
            random_state.with_name(f"rng_state_{rank}.pth").unlink()
    elif damage == "half a random state":
        random_state.write_bytes(random_state.read_bytes()[:10_000])
    else:
        state.write_text('{"global_st' if damage == "half a state" else "")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert last_checkpoint(tmp_path / "nowhere") is None


def test_checkpoints_do_not_pile_up(undisturbed: tuple[Path, ModelManifest]) -> None:
    work, _ = undisturbed
    assert sorted(path.name for path in (work / "checkpoints").glob("check*")) == ["checkpoint-20", "checkpoint-26"]
