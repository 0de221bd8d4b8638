"""What a model version is, and what went into it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

MIN_EVAL_QUERIES = 30
"""An in-batch metric of fewer is not shown: of ten, one query moves it by 0.1, and all ten are often right."""


class ModelManifest(BaseModel):
    """What a model version is and what went into it."""

    version: str
    kind: Literal["base", "fine-tuned"]
    base_model: str
    dimension: int
    max_seq_length: int
    registered_at: datetime
    snapshot_id: str | None = None
    training_id: str | None = None
    recipe: dict[str, Any] = {}
    """Settings the model was trained with."""
    pairs: dict[str, int] = {}
    """Training pairs by origin."""
    metrics: dict[str, dict[str, float]] = {}
    """In-batch metrics before and after training."""
    eval_queries: int | None = None
    """How many queries those are of; None in manifests that do not say."""
    losses: list[dict[str, float]] = []
    """The trainer's log: step, loss, learning rate."""
    evaluations: list[dict[str, float]] = []
    """In-batch metrics as the training went: step, MRR@5, Recall@1, with texts cut as in training."""
    seconds: float = 0.0
    license: str = ""
    """The base model's licence, as its card states it; empty if it does not."""
    data: dict[str, Any] = {}
    """What it was trained on: the dump of a :class:`include.retriever.training_data.TrainingData`."""
    device_usage: dict[str, Any] = {}
    """What the training took: the dump of a :class:`include.devices.usage.Usage`."""

    @property
    def telling_metrics(self) -> dict[str, dict[str, float]]:
        """The in-batch metrics, if they are of enough queries to say anything."""
        enough = self.eval_queries is None or self.eval_queries >= MIN_EVAL_QUERIES
        return self.metrics if enough else {}
