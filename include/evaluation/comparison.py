"""Which models are compared before a re-index, and which of them goes live."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import BaseModel

from include.episodes import snapshot
from include.evaluation.gate import RULE, Decision, decide
from include.evaluation.report import Role
from include.evaluation.run import EvaluationPlan, load_evaluation_plan, load_results, plan_evaluation, read_query_sets
from include.index.live import LivePointer, read_live, require_seen
from include.retriever.encoders.precision import Precision
from include.retriever.encoders.variants import ensure_precision
from include.retriever.registry import newest_trained
from include.storage import ArtifactStore, digest

log = logging.getLogger(__name__)

FOLDER = "comparisons"
CATALOGUE = 20_000
"""Most episodes that evaluation searches."""
QUERIES = 500
"""Most test queries that it asks."""
SEED = 20171201
DECISIONS = "decisions"


class ModelComparison(BaseModel):
    """The models of one re-index, by role, and what they are measured on."""

    comparison_id: str
    evaluation_id: str
    base: str
    live: str | None
    """The model that search answers with; None before the first activation."""
    candidate: str | None
    """A trained model that the gate has not yet compared with what is live; None if there is none."""

    @property
    def incumbent(self) -> str:
        """The model that stays if the candidate is refused."""
        return self.live or self.base

    @property
    def models(self) -> list[str]:
        """Every model once."""
        return list(dict.fromkeys(model for model in (self.base, self.live, self.candidate) if model))

    @property
    def roles(self) -> dict[Role, str]:
        """Model by role; a live model that is the base model is shown as the base model alone."""
        roles: dict[Role, str] = {"base": self.base}
        if self.live and self.live != self.base:
            roles["live"] = self.live
        if self.candidate:
            roles["candidate"] = self.candidate
        return roles


def find_candidate(
    store: ArtifactStore,
    *,
    base: str,
    live: LivePointer | None,
    tolerance: float,
    precision: Precision = "float32",
    refused_too: bool = False,
) -> str | None:
    """The newest trained model, unless it is live, or was refused against what is live at the same or a larger
    tolerance.

    A model that a person rolled back from is never a candidate: it would go live again by itself.

    :param precision: number format for encoding; if it differs from what is live, the model is a candidate, too.
    :param refused_too: a person decides instead of the gate, so earlier refusals do not count.
    """
    newest = newest_trained(store)
    if newest is None:
        return None
    candidate = ensure_precision(store, newest.version, precision).version
    incumbent = live.model_version if live else base
    if candidate == incumbent:
        return None
    if refused_too:
        return candidate
    if live and {newest.version, candidate} & set(live.refused):
        return None
    decision = _read_decision(store, *_decision_path(candidate, incumbent))
    if decision is None or decision.passed or decision.tolerance < tolerance:
        return candidate
    return None if decision.rule == RULE or decision.overruled else candidate


def plan_comparison(
    store: ArtifactStore,
    *,
    base: str,
    live: LivePointer | None,
    candidate: str | None,
    curated_path: Path | None,
    hybrid_weight: float,
    catalogue_size: int = CATALOGUE,
    max_queries: int = QUERIES,
    seed: int = SEED,
) -> ModelComparison:
    """Decide what is compared, on the latest snapshot.

    :raises FileNotFoundError: no snapshot was published.
    """
    latest = snapshot.latest(store)
    if latest is None:
        raise FileNotFoundError("No snapshot has been published yet: run ingest_episodes first.")
    newest = newest_trained(store)
    evaluation = plan_evaluation(
        store,
        snapshot_id=latest.snapshot_id,
        training_id=newest.training_id if newest else None,
        curated_path=curated_path,
        catalogue_size=catalogue_size,
        max_queries=max_queries,
        seed=seed,
        hybrid_weight=hybrid_weight,
    )
    comparison = ModelComparison(
        comparison_id="",
        evaluation_id=evaluation.evaluation_id,
        base=base,
        live=live.model_version if live else None,
        candidate=candidate,
    )
    comparison.comparison_id = digest(comparison.model_dump_json())
    store.write_json(comparison.model_dump(), FOLDER, comparison.comparison_id, "comparison.json")
    return comparison


def load_comparison(store: ArtifactStore, comparison_id: str) -> tuple[ModelComparison, EvaluationPlan]:
    comparison = ModelComparison.model_validate(store.read_json(FOLDER, comparison_id, "comparison.json"))
    return comparison, load_evaluation_plan(store, comparison.evaluation_id)


def judge(store: ArtifactStore, comparison: ModelComparison, *, tolerance: float) -> Decision | None:
    """What the gate says about the candidate; None if there is none. Nothing is written."""
    if comparison.candidate is None:
        return None
    return decide(
        load_results(store, comparison.evaluation_id, comparison.candidate),
        load_results(store, comparison.evaluation_id, comparison.incumbent),
        reference_version=comparison.incumbent,
        tolerance=tolerance,
    )


def keep_decision(
    store: ArtifactStore,
    comparison: ModelComparison,
    decision: Decision | None,
    *,
    for_later: bool = True,
    seen: str | None = None,
) -> str:
    """Record the decision about the candidate, and return the model to index with.

    :param for_later: a refusal holds for later runs, too; otherwise they ask again.
    :param seen: what was live when the run began (:func:`include.index.live.live_entry`), if it is a run that decides.
    :raises OvertakenError: something else went live since.
    """
    if seen is not None:
        require_seen(read_live(store), seen)
    if comparison.candidate is None or decision is None:
        return comparison.incumbent
    store.write_json(decision.model_dump(), FOLDER, comparison.comparison_id, "decision.json")
    if for_later:
        store.write_json(decision.model_dump(), *_decision_path(comparison.candidate, comparison.incumbent))
    log.info("%s %s:", comparison.candidate, "goes live" if decision.passed else "is refused")
    for reason in decision.reasons:
        log.info("  %s", reason)
    return comparison.candidate if decision.passed else comparison.incumbent


def load_decision(store: ArtifactStore, comparison_id: str) -> Decision | None:
    """What the gate decided; None if there was no candidate."""
    return _read_decision(store, FOLDER, comparison_id, "decision.json")


def _read_decision(store: ArtifactStore, *path: str) -> Decision | None:
    found = store.read_json_if_there(*path)
    return None if found is None else Decision.model_validate(found)


def _decision_path(candidate: str, incumbent: str) -> tuple[str, str]:
    return DECISIONS, f"{candidate}--{incumbent}.json"


def sample_queries(store: ArtifactStore, comparison_id: str, most: int) -> list[str]:
    """Queries that the models of a comparison were asked, drawn evenly from all sets."""
    comparison, _ = load_comparison(store, comparison_id)
    queries = [query for one in read_query_sets(store, comparison.evaluation_id) for query in one.queries]
    return queries[:: max(1, len(queries) // most)][:most]
