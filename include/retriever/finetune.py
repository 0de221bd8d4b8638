"""Fine-tuning with MultipleNegativesRankingLoss, resumable from its last checkpoint.

The recipe is the article's (one epoch, 10 % warm-up, no duplicates in a batch), with what it leaves open mended:
seeded, pairs split by episode, near-duplicate episodes kept out of one another's batch, in-batch metrics by
InformationRetrievalEvaluator (the same MRR as RerankingEvaluator with each text encoded once).
"""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.training_args import BatchSamplers
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from include.errors import PermanentError
from include.retriever.pairs import count_by
from include.retriever.recipe import Recipe
from include.retriever.registry import ModelManifest, dimension_of
from include.storage import ArtifactStore, digest

log = logging.getLogger(__name__)

MAX_EVAL_PAIRS = 1000


class TrainingError(PermanentError):
    """There is nothing to train on; the message says why."""


def model_version(base_version: str, training_id: str, recipe: Recipe) -> str:
    """Name of the model that this training ends in, known before it starts."""
    name = base_version.split("-base-")[0]
    return f"{name}-tuned-{digest(base_version, training_id, recipe.model_dump_json())[:8]}"


def fine_tune(
    model: SentenceTransformer,
    pairs: pa.Table,
    *,
    base: ModelManifest,
    training_id: str,
    snapshot_id: str,
    recipe: Recipe,
    work: Path,
) -> tuple[Path, ModelManifest]:
    """Train a model and save it, with its manifest, in a local folder.

    :param pairs: in the shape of :data:`include.retriever.pairs.PAIRS`; the train split trains, the eval split
        measures.
    :param work: a folder of this training alone; a killed training goes on from the checkpoints in it.
    :raises TrainingError: fewer training pairs than two.
    """
    version = model_version(base.version, training_id, recipe)
    output, finished = work / "model", work / "model.json"
    if finished.is_file():
        return output, ModelManifest.model_validate_json(finished.read_text())
    train = pairs.filter(pc.field("split") == "train")
    if len(train) < 2:
        raise TrainingError(f"{len(train)} training pairs: ingest more episodes, or raise PODSEARCH_TRAIN_SHARE.")

    started = time.monotonic()
    evaluator = _evaluator(pairs.filter(pc.field("split") == "eval"))
    before = _measure(evaluator, model, work / "before.json")
    full_length = model.max_seq_length
    model.max_seq_length = min(recipe.max_seq_length, full_length or recipe.max_seq_length)
    trainer = _trainer(model, train, recipe, work)
    checkpoint = _last_checkpoint(work / "checkpoints")
    if checkpoint:
        log.info("Going on from %s.", checkpoint.name)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    model.max_seq_length = full_length
    after = _measure(evaluator, model, None)

    manifest = ModelManifest(
        version=version,
        kind="fine-tuned",
        base_model=base.base_model,
        dimension=dimension_of(model),
        max_seq_length=int(full_length or 0),
        registered_at=datetime.now(UTC),
        snapshot_id=snapshot_id,
        training_id=training_id,
        recipe=recipe.model_dump(),
        pairs=count_by(train, "origin"),
        metrics={"before": before, "after": after},
        losses=[
            {key: float(entry[key]) for key in ("step", "loss", "learning_rate") if key in entry}
            for entry in trainer.state.log_history
            if "loss" in entry
        ],
        seconds=time.monotonic() - started,
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


def _trainer(model: SentenceTransformer, train: pa.Table, recipe: Recipe, work: Path) -> SentenceTransformerTrainer:
    steps = max(1, -(-len(train) // recipe.batch_size) * recipe.epochs)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(work / "checkpoints"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_share,
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        seed=recipe.seed,
        data_seed=recipe.seed,
        use_cpu=model.device.type == "cpu",
        bf16=model.device.type == "cuda" and torch.cuda.is_bf16_supported(),
        save_strategy="steps",
        save_steps=max(10, steps // 8),
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=max(1, steps // 40),
        disable_tqdm=True,
        report_to="none",
    )
    dataset = Dataset(pa.table({"anchor": train["query"], "positive": train["positive"]}))
    trainer = _Trainer(
        keys=Dataset(pa.table({"query": train["query"], "group": train["group"]})),
        model=model,
        args=arguments,
        train_dataset=dataset,
        loss=MultipleNegativesRankingLoss(model),
        callbacks=[_ProgressLog()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


class _Trainer(SentenceTransformerTrainer):
    """Never puts the same query, or two pairs of one near-duplicate group, in one batch.

    The few pairs that are left for batches of their own at the end of an epoch are dropped: alone, with nothing to be
    told apart from, they would teach nothing.

    :param keys: the query and the group of each training pair; the batch sampler only yields row numbers, so that it
        can look at them in place of the texts.
    """

    def __init__(self, *, keys: Dataset, **arguments: Any) -> None:
        self._keys = keys
        super().__init__(**arguments)

    def get_batch_sampler(self, dataset: Any, *arguments: Any, **options: Any) -> NoDuplicatesBatchSampler:
        return NoDuplicatesBatchSampler(self._keys, *arguments, **options)


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; one that was being written when the task was killed has no whole trainer state."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json") if _is_json(path)]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _evaluator(pairs: pa.Table) -> InformationRetrievalEvaluator | None:
    """In-batch evaluation: one query an episode against the eval pairs' positives. None where there are too few."""
    first = {row["episode_id"]: row for row in reversed(pairs.to_pylist())}
    rows = list(first.values())[:MAX_EVAL_PAIRS]
    if len(rows) < 2:
        log.warning("Only %d eval pairs: in-batch metrics are left out.", len(rows))
        return None
    return InformationRetrievalEvaluator(
        queries={row["episode_id"]: row["query"] for row in rows},
        corpus={row["episode_id"]: row["positive"] for row in rows},
        relevant_docs={row["episode_id"]: {row["episode_id"]} for row in rows},
        mrr_at_k=[5],
        precision_recall_at_k=[1],
        accuracy_at_k=[1],
        ndcg_at_k=[10],
        map_at_k=[10],
        batch_size=16,
        name="eval",
        write_csv=False,
    )


def _measure(
    evaluator: InformationRetrievalEvaluator | None, model: SentenceTransformer, memory: Path | None
) -> dict[str, float]:
    """In-batch MRR@5 and Recall@1; remembered in a file, so that a resumed training does not measure anew."""
    if evaluator is None:
        return {}
    if memory and memory.is_file():
        remembered: dict[str, float] = json.loads(memory.read_text())
        return remembered
    scores = evaluator(model)
    figures = {"MRR@5": float(scores["eval_cosine_mrr@5"]), "Recall@1": float(scores["eval_cosine_recall@1"])}
    log.info("In-batch: MRR@5 %.3f, Recall@1 %.3f.", figures["MRR@5"], figures["Recall@1"])
    if memory:
        ArtifactStore(memory.parent).write_json(figures, memory.name)
    return figures


class _ProgressLog(TrainerCallback):
    """Log lines in place of a progress bar: steps, loss, time left."""

    def __init__(self) -> None:
        self.started = (0.0, 0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.started = (time.monotonic(), state.global_step)
        log.info("Training: %d steps.", state.max_steps)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        entry = state.log_history[-1] if state.log_history else {}
        done = state.global_step - self.started[1]
        if "loss" not in entry or not done:
            return
        left = (time.monotonic() - self.started[0]) / done * (state.max_steps - state.global_step)
        log.info("Step %d of %d: loss %.3f, %.0f s left.", state.global_step, state.max_steps, entry["loss"], left)
