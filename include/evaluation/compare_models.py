"""How two model versions differ: what went into them, what training took, how well each finds episodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from include.episodes import snapshot
from include.errors import PermanentError
from include.evaluation.metrics import Interval, differences
from include.evaluation.run import FOLDER as EVALUATIONS
from include.evaluation.run import (
    EvaluationPlan,
    is_evaluated,
    load_evaluation_plan,
    load_evaluations,
    load_results,
)
from include.index.live import read_live
from include.retriever.manifest import ModelManifest
from include.retriever.registry import newest_trained, registered
from include.storage import ArtifactStore

NOTHING = "–"
"""Stands for what a version does not have."""


class UnknownModelError(PermanentError):
    """There is no such model version; the message lists the existing ones."""


class Row(BaseModel):
    """A property of two versions, in words."""

    name: str
    first: str
    second: str

    @property
    def differs(self) -> bool:
        return self.first != self.second


class Measured(BaseModel):
    """Two versions on one query set."""

    query_set: str
    queries: int
    catalogue: int
    first: dict[str, Interval]
    second: dict[str, Interval]
    differences: dict[str, Interval]
    """How much better (above zero) the second is, query by query."""
    judged: tuple[float | None, float | None] = (None, None)
    """:attr:`include.evaluation.metrics.ModelEvaluation.judged` of both."""


class ModelDifference(BaseModel):
    """Two versions, property by property."""

    first: ModelManifest
    second: ModelManifest
    sections: dict[str, list[Row]]
    """Properties by what they are about, whether they differ or not; a section that neither has is left out."""
    evaluation: EvaluationPlan | None
    """The newest evaluation that measured both; None if there is none."""
    measured: list[Measured]


def find_model(store: ArtifactStore, name: str) -> ModelManifest:
    """A registered version by its name, or by ``live``, ``previous`` or ``newest``.

    :raises UnknownModelError: there is no such version.
    """
    versions = {manifest.version: manifest for manifest in registered(store)}
    live, newest = read_live(store), newest_trained(store)
    previous = live.previous if live else None
    aliases = {
        "live": live.model_version if live else None,
        "previous": previous.model_version if previous else None,
        "newest": newest.version if newest else None,
    }
    found = versions.get(name) or versions.get(aliases.get(name) or "")
    if found is None:
        there = ", ".join(versions) or "none yet: train_retriever and reindex_episodes register them"
        known = [alias for alias, version in aliases.items() if version in versions]
        also = f" (and {', '.join(known)})" if known else ""
        raise UnknownModelError(f"There is no model {name!r}. Registered models: {there}{also}.")
    return found


def compare_models(store: ArtifactStore, first: str, second: str) -> ModelDifference:
    """Set two versions side by side.

    Metrics are from the newest evaluation that measured both, because they can only be compared on the same queries and
    catalogue.

    :raises UnknownModelError: one of them is not registered.
    """
    one, other = find_model(store, first), find_model(store, second)
    plan = _newest_shared(store, one.version, other.version)
    return ModelDifference(
        first=one,
        second=other,
        sections=_sections(store, one, other),
        evaluation=plan,
        measured=_measured(store, plan, one.version, other.version) if plan else [],
    )


def _sections(store: ArtifactStore, one: ModelManifest, other: ModelManifest) -> dict[str, list[Row]]:
    sides = [_properties(store, manifest) for manifest in (one, other)]
    sections: dict[str, list[Row]] = {}
    for section in sides[0]:
        first, second = (dict(_flat(side[section])) for side in sides)
        if names := list(dict.fromkeys([*first, *second])):
            sections[section] = [
                Row(name=name, first=first.get(name, NOTHING), second=second.get(name, NOTHING)) for name in names
            ]
    return sections


def _properties(store: ArtifactStore, manifest: ModelManifest) -> dict[str, Mapping[str, Any]]:
    """What is known of a version, by section."""
    data = dict(manifest.data)
    return {
        "Model": {
            "kind": manifest.kind,
            "base model": manifest.base_model,
            "licence": manifest.license or "not stated",
            "dimensions": manifest.dimension,
            "tokens of a text": manifest.max_seq_length,
            "registered": manifest.registered_at,
            "serves": _serves(store, manifest.version),
        },
        "Recipe": manifest.recipe,
        "Data": {"training": manifest.training_id, "snapshot": manifest.snapshot_id} | data,
        "Pairs": {} if "pairs" in data else manifest.pairs,
        "In-batch metrics": manifest.telling_metrics,
        "Training": {"seconds": manifest.seconds or None, "device": manifest.device_usage},
    }


def _serves(store: ArtifactStore, version: str) -> str | None:
    live = read_live(store)
    if live and live.model_version == version:
        return "live"
    return "live before" if live and live.previous and live.previous.model_version == version else None


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Names and values of nested properties, in words; what is not there is left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}: ")
        elif value is not None:
            yield f"{before}{name}", _words(value)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value)) or "none"
    return str(value)


def _newest_shared(store: ArtifactStore, first: str, second: str) -> EvaluationPlan | None:
    """The evaluation of both that is on the newest snapshot and, among these, asks queries of the newest training."""
    trained = {manifest.training_id: manifest.registered_at for manifest in registered(store) if manifest.training_id}
    start = datetime.min.replace(tzinfo=UTC)

    def age(plan: EvaluationPlan) -> tuple[datetime, datetime, str]:
        known = snapshot.exists(store, plan.snapshot_id)
        made = snapshot.load(store, plan.snapshot_id).created_at if known else start
        return made, trained.get(plan.training_id or "", start), plan.evaluation_id

    shared = [
        load_evaluation_plan(store, name)
        for name in store.names(EVALUATIONS)
        if store.is_complete(EVALUATIONS, name)
        and is_evaluated(store, name, first)
        and is_evaluated(store, name, second)
    ]
    return max(shared, key=age, default=None)


def _measured(store: ArtifactStore, plan: EvaluationPlan, first: str, second: str) -> list[Measured]:
    one, other = (
        {item.query_set: item for item in load_evaluations(store, plan.evaluation_id, version)}
        for version in (first, second)
    )
    results = [load_results(store, plan.evaluation_id, version) for version in (first, second)]
    return [
        Measured(
            query_set=name,
            queries=evaluation.queries,
            catalogue=evaluation.catalogue,
            first=evaluation.metrics,
            second=other[name].metrics,
            differences=differences(results[1][name], results[0][name], seed=plan.seed),
            judged=(evaluation.judged, other[name].judged),
        )
        for name, evaluation in one.items()
    ]
