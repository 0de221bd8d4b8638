"""One training on this process's device, as the only process or as one of several."""

from __future__ import annotations

import logging
import multiprocessing
import os
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from torch.utils.data import get_worker_info
from transformers import (
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils.import_utils import is_torch_tf32_available

from include.devices.attention import plain_attention
from include.retriever.encoders.features import preprocess
from include.retriever.finetuning.checkpoints import last_checkpoint
from include.retriever.finetuning.evaluation import BEST_BY, EarlyStop
from include.retriever.finetuning.examples import create_sampler, training_texts
from include.retriever.finetuning.hardware import Hardware
from include.retriever.finetuning.losses import create_loss
from include.retriever.finetuning.progress import ProgressLog
from include.retriever.finetuning.sampler import PairBatchSampler
from include.retriever.recipe import Recipe
from include.retriever.registry import load_base, load_folder

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
EVALUATIONS = 8
"""Evaluations, and checkpoints, in a training."""
LOADERS = 4
"""Processes that tokenize texts ahead for a GPU: what it needs ten milliseconds for takes one of them forty."""


def train_model(
    base_folder: Path,
    examples: pa.Table,
    evaluator: InformationRetrievalEvaluator | None,
    *,
    recipe: Recipe,
    hardware: Hardware,
    mini_batch_size: int,
    work: Path,
    device: str,
) -> tuple[SentenceTransformer, list[dict[str, float]]]:
    """Train, going on from the last checkpoint if there is one.

    :param base_folder: the model to begin with.
    :param examples: see :func:`include.retriever.finetuning.examples.prepare_examples`.
    :param evaluator: measures it as it goes; None where there is nothing to measure with.
    :param mini_batch_size: see :func:`include.retriever.finetuning.losses.create_loss`.
    :param work: holds the checkpoints.
    :param device: this process's, as PyTorch calls it.
    :returns: the model, and the trainer's history: its entries of losses and evaluations.
    """
    model = load_folder(base_folder, device)
    model.model_card_data.generate_widget_examples = False
    if recipe.query_prompt:
        model.prompts["query"] = recipe.query_prompt
    guide = load_guide(recipe.guide, base_folder, device) if recipe.guide else None
    full_length = model.max_seq_length
    model.max_seq_length = min(recipe.max_seq_length, full_length or recipe.max_seq_length)
    sampler = create_sampler(examples, model, recipe, parts=hardware.gpus)
    early_stop = EarlyStop(recipe.patience)
    trainer = Trainer(
        sampler=sampler,
        model=model,
        args=training_arguments(
            recipe,
            hardware,
            work / CHECKPOINTS,
            steps=sampler.batches * recipe.epochs,
            evaluates=evaluator is not None,
        ),
        train_dataset=training_texts(examples),
        loss=create_loss(model, recipe, hardware, mini_batch_size=mini_batch_size, guide=guide),
        evaluator=evaluator,
        callbacks=[ProgressLog(), _Epochs(sampler), *([early_stop] if recipe.patience and evaluator else [])],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = last_checkpoint(work / CHECKPOINTS)
    if checkpoint:
        log.info("Resuming from %s.", checkpoint.name)
    if trainer.args.dataloader_num_workers:
        # What loaders hold cannot be sent to them. Airflow may have had its workers started in another way.
        multiprocessing.set_start_method("fork", force=True)
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME)) if checkpoint else None
    if state and recipe.patience and early_stop.has_ended(state):
        trainer.take_best(state)
    else:
        with plain_attention():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    model.max_seq_length = full_length
    return model, trainer.state.log_history


def load_guide(name: str, base_folder: Path, device: str) -> SentenceTransformer:
    """The guide of a recipe, which itself learns nothing.

    :param name: as a base model is named, or ``base`` for the one that the training begins with.
    :raises ModelError: it cannot be found or reached.
    """
    guide = load_folder(base_folder, device) if name == "base" else load_base(name, device)
    return guide.eval().requires_grad_(False)


def training_arguments(
    recipe: Recipe, hardware: Hardware, folder: Path, *, steps: int, evaluates: bool
) -> SentenceTransformerTrainingArguments:
    """The recipe in the trainer's words.

    :param folder: for checkpoints.
    :param steps: of the whole training.
    """
    cuda = hardware.device == "cuda"
    every = max(10, steps // EVALUATIONS)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size // hardware.gpus,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_share,
        prompts={"anchor": recipe.query_prompt} if recipe.query_prompt else None,
        seed=recipe.seed,
        data_seed=recipe.seed,
        use_cpu=not cuda,
        ddp_backend=("nccl" if cuda else "gloo") if hardware.gpus > 1 else None,
        bf16=cuda and torch.cuda.is_bf16_supported(including_emulation=False),
        tf32=True if cuda and is_torch_tf32_available() else None,
        dataloader_num_workers=LOADERS if cuda and not multiprocessing.current_process().daemon else 0,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=evaluates and recipe.keeps_best,
        metric_for_best_model=BEST_BY if evaluates and recipe.keeps_best else None,
        greater_is_better=True,
        logging_strategy="steps",
        logging_steps=max(1, steps // 40),
        disable_tqdm=True,
        report_to="none",
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # a process takes one GPU, even where it sees several
    return arguments


class Trainer(SentenceTransformerTrainer):
    """The library's trainer with batches of our own, which keeps the best in earnest.

    :param sampler: the batches; of all devices, one part after another.
    """

    def __init__(self, *, sampler: PairBatchSampler, **arguments: Any) -> None:
        self._sampler = sampler
        super().__init__(**arguments)
        self.data_collator.preprocess_fn = partial(preprocess_columns, arguments["model"])

    def get_batch_sampler(self, dataset: Any, *arguments: Any, **options: Any) -> PairBatchSampler:
        return self._sampler

    def take_best(self, state: TrainerState) -> None:
        """Be as if a training had ended in this state."""
        self.state = state
        self._load_best_model()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save a checkpoint without a model card, which takes as long as the weights."""
        self.model.save_pretrained(str(output_dir or self.args.output_dir), create_model_card=False)

    def _load_best_model(self) -> None:
        """The library's own only logs that it failed, and goes on with the last weights."""
        assert self.state.best_model_checkpoint  # there was an evaluation
        self._load_from_checkpoint(self.state.best_model_checkpoint)


def preprocess_columns(model: SentenceTransformer, texts: list[str], **options: Any) -> dict[str, Any]:
    """What a batch's column is to the model, in a loader's process or in this one."""
    if get_worker_info() is not None:
        # A loader is forked, and the tokenizer's threads stay behind: it would wait for them for ever.
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return preprocess(model, texts, **options)


class _Epochs(TrainerCallback):
    """Tells the sampler its epoch, which the library's loaders, sharded or resumed, do not always pass on."""

    def __init__(self, sampler: PairBatchSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.sampler.set_epoch(state.global_step // self.sampler.batches)
