"""How a model was trained, as the report shows it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from include.devices.usage import Usage
from include.evaluation.formatting import seconds, size
from include.queries.filtering import Dropped
from include.queries.samples import QuerySample
from include.retriever.manifest import ModelManifest
from include.retriever.training.pairing import SUMMARY_FILE
from include.retriever.training.plan import FOLDER
from include.storage import ArtifactStore


class TrainingRun(BaseModel):
    """How the candidate was fine-tuned."""

    base_model: str
    settings: dict[str, str | int | float] = {}
    pairs_by_origin: dict[str, int] = {}
    losses: list[tuple[int, float]] = []
    """Step and training loss."""
    evaluations: list[tuple[int, float]] = []
    """Step and in-batch MRR@5; none where that is of too few queries to say anything."""
    queries_dropped: dict[str, int] = {}
    """Generated queries that were not used, by reason."""
    samples: list[QuerySample] = []
    """A few of the generated queries that were."""
    device: Usage | None = None

    @property
    def device_facts(self) -> list[tuple[str, str]]:
        """What the training used of its device, as names and values."""
        if self.device is None:
            return []
        used = self.device
        names = ", ".join(dict.fromkeys(used.names)) or ("GPU" if used.device == "cuda" else "CPU")
        trained_on = f"{used.gpus} × {names}" if used.gpus > 1 else names
        facts = [("Trained on", f"{trained_on} (CPU fallback: no GPU available)" if used.fallback else trained_on)]
        if used.gpus:
            facts.append(("GPU time", seconds(used.gpu_seconds)))
        elif used.seconds:
            facts.append(("Time", seconds(used.seconds)))
        if used.memory_peak_bytes:
            facts.append(("Memory at the peak", size(used.memory_peak_bytes)))
        if used.batch_halvings:
            facts.append(("Out of memory", f"batch halved {used.batch_halvings} times"))
        return facts


def training_run(store: ArtifactStore, model: ModelManifest) -> TrainingRun | None:
    """How a registered version was trained; None if it is a base model."""
    if model.kind != "fine-tuned":
        return None
    # Older trainings recorded less of what became of their queries.
    queries = (store.read_json_if_there(FOLDER, model.training_id, SUMMARY_FILE) if model.training_id else None) or {}
    dropped = dict(queries.get("dropped", {}))
    if not_found := (queries.get("round_trip") or {}).get("dropped"):
        dropped[Dropped.NOT_FOUND] = not_found
    return TrainingRun(
        base_model=model.base_model,
        settings={name: _setting(value) for name, value in model.recipe.items() if value not in ("", [], None)},
        pairs_by_origin=model.pairs,
        losses=[(int(entry["step"]), entry["loss"]) for entry in model.losses],
        evaluations=[(int(entry["step"]), entry["MRR@5"]) for entry in model.evaluations if model.telling_metrics],
        queries_dropped=dropped,
        samples=queries.get("samples", []),
        device=Usage.model_validate(model.device_usage) if model.device_usage else None,
    )


def _setting(value: Any) -> str | int | float:
    """A setting of a recipe as the report shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else value
