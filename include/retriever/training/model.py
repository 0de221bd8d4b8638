"""Fine-tuning and registering the model of a training."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.errors import OvertakenError
from include.retriever.manifest import ModelManifest
from include.retriever.registry import ensure_base, model_folder, register, trainings
from include.retriever.training.pairing import read_training_pairs
from include.retriever.training.plan import FOLDER, TrainingPlan
from include.retriever.training_data import describe
from include.storage import MANIFEST, ArtifactStore

if TYPE_CHECKING:
    from include.devices.usage import Usage
    from include.retriever.finetuning.hardware import Hardware


def trained(store: ArtifactStore, plan: TrainingPlan) -> ModelManifest | None:
    """The manifest of the trained model; None if it is not trained yet."""
    found = store.read_json_if_there(*_result(plan), MANIFEST)
    return None if found is None else ModelManifest.model_validate(found)


def train(
    store: ArtifactStore, plan: TrainingPlan, *, hardware: Hardware, work_root: Path, usage: Usage | None = None
) -> ModelManifest:
    """Fine-tune the base model on the pairs, and put the result beside them until :func:`register_trained`.

    What is trained already is not trained again.

    :param work_root: holds checkpoints, from which a killed training goes on.
    :param usage: where to note the memory that other processes than this one have used.
    """
    from include.retriever.finetuning.run import fine_tune

    if done := trained(store, plan):
        return done
    base = ensure_base(store, plan.base_model, hardware.device)
    pairs = read_training_pairs(store, plan)
    with store.local_copy(*model_folder(base.version)) as base_folder:
        folder, manifest = fine_tune(
            base_folder,
            pairs,
            base=base,
            training_id=plan.training_id,
            snapshot_id=plan.snapshot_id,
            recipe=plan.recipe,
            hardware=hardware,
            work=work_root / plan.training_id,
            usage=usage,
        )
    manifest = manifest.model_copy(update={"data": describe(store, plan.snapshot_id, pairs).model_dump()})
    # The registry is told in a task of its own, but weights must not depend on which worker runs it.
    ArtifactStore(folder).write_json(manifest.model_dump(mode="json"), MANIFEST)
    store.publish_directory(folder, *_result(plan))
    return manifest


def register_trained(
    store: ArtifactStore,
    plan: TrainingPlan,
    *,
    device_usage: dict[str, Any],
    work_root: Path,
    seen: Collection[str] | None = None,
) -> ModelManifest:
    """Put the trained model into the registry, and drop what training left behind.

    :param device_usage: an :class:`include.devices.usage.Usage` as JSON, of the task that trained; may be empty.
    :param seen: the trainings that were registered when the run began, if it is a run that registers.
    :raises OvertakenError: another has been registered since, than which this one would seem newer.
    """
    if seen is not None and (newer := set(trainings(store)) - {*seen, plan.training_id}):
        raise OvertakenError(
            f"The model of the training {plan.training_id} is not registered: since its run started, "
            f"{', '.join(sorted(newer))} was. Trigger train_retriever with `force` for a newer one."
        )
    with store.local_copy(*_result(plan)) as folder:
        manifest = ModelManifest.model_validate_json((folder / MANIFEST).read_bytes())
        registered = register(store, folder, manifest.model_copy(update={"device_usage": device_usage}))
    shutil.rmtree(work_root / plan.training_id, ignore_errors=True)
    return registered


def _result(plan: TrainingPlan) -> tuple[str, ...]:
    return FOLDER, plan.training_id, "model"
