"""What a training says of itself: log lines in place of a progress bar, and the figures for the manifest."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from include.retriever.finetuning.evaluation import FIGURES, figures_of

log = logging.getLogger(__name__)


class ProgressLog(TrainerCallback):
    """Log lines: steps, loss, time left, in-batch metrics."""

    def __init__(self) -> None:
        self.started = (0.0, 0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.started = (time.monotonic(), state.global_step)
        if state.is_local_process_zero:
            log.info("Training: %d steps.", state.max_steps)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        entry = state.log_history[-1] if state.log_history else {}
        if not state.is_local_process_zero:
            return
        if _is_evaluation(entry):
            figures = ", ".join(f"{name} {value:.3f}" for name, value in figures_of(entry).items())
            log.info("Step %d of %d: %s.", state.global_step, state.max_steps, figures)
        done = state.global_step - self.started[1]
        if "loss" in entry and done:
            left = (time.monotonic() - self.started[0]) / done * (state.max_steps - state.global_step)
            log.info("Step %d of %d: loss %.3f, %.0f s left.", state.global_step, state.max_steps, entry["loss"], left)


def losses(history: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Step, loss and learning rate, from a trainer's history."""
    return [
        {key: float(entry[key]) for key in ("step", "loss", "learning_rate") if key in entry}
        for entry in history
        if "loss" in entry
    ]


def evaluations(history: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Step and in-batch metrics of each evaluation during the training, from a trainer's history."""
    return [{"step": float(entry["step"]), **figures_of(entry)} for entry in history if _is_evaluation(entry)]


def _is_evaluation(entry: Mapping[str, float]) -> bool:
    return next(iter(FIGURES.values())) in entry
