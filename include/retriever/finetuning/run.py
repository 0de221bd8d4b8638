"""Fine-tuning by a recipe, resumable from its last checkpoint.

The article's recipe (MultipleNegativesRankingLoss, one epoch, 10 % warm-up, no duplicates in a batch), with what it
leaves open mended: seeded, pairs split by episode, near-duplicate episodes kept out of one another's batch, measured as
it goes; and what is known to help beyond it, as far as the recipe asks for it.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from include.devices.halving import HalvingBatch
from include.devices.usage import Usage
from include.errors import PermanentError
from include.retriever.finetuning.distributed import peak_bytes, train_distributed
from include.retriever.finetuning.evaluation import create_evaluator, measure
from include.retriever.finetuning.examples import prepare_examples
from include.retriever.finetuning.hardware import Hardware
from include.retriever.finetuning.losses import mini_batch_to_begin_with
from include.retriever.finetuning.progress import evaluations, losses
from include.retriever.finetuning.trainer import train_model
from include.retriever.manifest import ModelManifest
from include.retriever.pairs import count_by
from include.retriever.recipe import Recipe
from include.retriever.registry import dimension_of, load_folder
from include.storage import ArtifactStore, digest

log = logging.getLogger(__name__)


class TrainingError(PermanentError):
    """A training cannot be done as it is set; the message says why, and what to do."""


def model_version(base_version: str, training_id: str, recipe: Recipe) -> str:
    """Name of the model that this training ends in, known before it starts."""
    name = base_version.split("-base-")[0]
    return f"{name}-tuned-{digest(base_version, training_id, recipe.model_dump_json())[:8]}"


def fine_tune(
    base_folder: Path,
    pairs: pa.Table,
    *,
    base: ModelManifest,
    training_id: str,
    snapshot_id: str,
    recipe: Recipe,
    hardware: Hardware,
    work: Path,
    usage: Usage | None = None,
) -> tuple[Path, ModelManifest]:
    """Train a model and save it, with its manifest, in a local folder.

    :param base_folder: the base model, in sentence-transformers' format.
    :param pairs: in the shape of :data:`include.retriever.pairs.PAIRS`; the train split trains, the eval split
        measures.
    :param work: a folder of this training alone; a killed training goes on from the checkpoints in it.
    :param usage: where to note the memory that processes other than this one have used.
    :returns: the folder, and the manifest.
    :raises TrainingError: fewer training pairs than two, or a batch that cannot be shared out among the devices.
    """
    version = model_version(base.version, training_id, recipe)
    output, finished = work / "model", work / "model.json"
    if finished.is_file():
        return output, ModelManifest.model_validate_json(finished.read_text())
    train = pairs.filter(pc.field("split") == "train")
    _check(train, recipe, hardware)

    started = time.monotonic()
    eval_pairs = pairs.filter(pc.field("split") == "eval")
    evaluator = create_evaluator(eval_pairs)
    before, examples = _prepare(base_folder, train, evaluator, recipe, hardware, work)
    model, history = _train(base_folder, examples, eval_pairs, recipe, hardware, work)
    if usage is not None:
        usage.memory_peak_bytes = max(usage.memory_peak_bytes, peak_bytes(work))
    after = measure(evaluator, model, None)

    manifest = ModelManifest(
        version=version,
        kind="fine-tuned",
        base_model=base.base_model,
        dimension=dimension_of(model),
        max_seq_length=int(model.max_seq_length or 0),
        registered_at=datetime.now(UTC),
        snapshot_id=snapshot_id,
        training_id=training_id,
        recipe=recipe.model_dump(),
        pairs=count_by(train, "origin"),
        metrics={"before": before, "after": after},
        eval_queries=len(evaluator.queries) if evaluator else 0,
        losses=losses(history),
        evaluations=evaluations(history),
        seconds=time.monotonic() - started,
        license=base.license,
    )
    _write_card(model, version)
    model.save_pretrained(str(output), model_name=version, safe_serialization=True)
    ArtifactStore(work).write_json(manifest.model_dump(mode="json"), finished.name)
    return output, manifest


def _write_card(model: SentenceTransformer, version: str) -> None:
    """Say in the model card what the model is, and take out the examples, which are texts of the catalogue."""
    card = model.model_card_data
    card.model_name = version
    card.task_name = "natural-language podcast search"
    card.generate_widget_examples = False
    card.widget, card.usage_examples = [], None
    for dataset in card.train_datasets:
        for examples in ("examples", "examples_table", "_example_columns"):
            dataset.pop(examples, None)


def _check(train: pa.Table, recipe: Recipe, hardware: Hardware) -> None:
    if len(train) < 2:
        raise TrainingError(f"{len(train)} training pairs: ingest more episodes, or raise the recipe's train_share.")
    if recipe.batch_size % hardware.gpus:
        raise TrainingError(
            f"A batch of {recipe.batch_size} pairs cannot be divided evenly among {hardware.gpus} GPUs: set "
            f"the recipe's batch_size to a multiple of {hardware.gpus}, or use another number of GPUs."
        )


def _prepare(
    base_folder: Path,
    train: pa.Table,
    evaluator: InformationRetrievalEvaluator | None,
    recipe: Recipe,
    hardware: Hardware,
    work: Path,
) -> tuple[dict[str, float], pa.Table]:
    """The base model's metrics, and what to learn from."""
    model = load_folder(base_folder, hardware.device)
    before = measure(evaluator, model, work / "before.json")
    return before, prepare_examples(model, train, recipe, device=hardware.device, work=work)


def _train(
    base_folder: Path,
    examples: pa.Table,
    eval_pairs: pa.Table,
    recipe: Recipe,
    hardware: Hardware,
    work: Path,
) -> tuple[SentenceTransformer, list[dict[str, float]]]:
    """Train; where a GPU's memory runs out, go on from the last checkpoint with half the pairs at a time.

    :returns: the model, and the trainer's history.
    """
    whole = recipe.batch_size // hardware.gpus
    first = mini_batch_to_begin_with(recipe, hardware)

    def attempt(size: int) -> tuple[SentenceTransformer, list[dict[str, float]]]:
        mini_batch_size = size if first or size < whole else 0
        if hardware.gpus == 1:
            return train_model(
                base_folder,
                examples,
                create_evaluator(eval_pairs),
                recipe=recipe,
                hardware=hardware,
                mini_batch_size=mini_batch_size,
                work=work,
                device=hardware.device,
            )
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # the processes need it
        trained, history = train_distributed(
            base_folder,
            examples,
            eval_pairs,
            recipe=recipe,
            hardware=hardware,
            mini_batch_size=mini_batch_size,
            work=work,
        )
        return load_folder(trained, hardware.device), history

    # A teacher's loss looks at all texts of a pair together, but at no other pair's: it has no mini batches.
    return HalvingBatch(first or whole).run(attempt, minimum=whole if recipe.teacher else 1)
