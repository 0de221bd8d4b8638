"""Bringing a run's figures together and publishing its report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from include.episodes import snapshot
from include.evaluation.comparison import ModelComparison, load_decision
from include.evaluation.examples import EpisodeLabel, ExampleChoice, choose
from include.evaluation.metrics import differences
from include.evaluation.report import (
    Comparison,
    Corpus,
    IndexCheck,
    IndexPlan,
    ReportData,
    Role,
    Versions,
    before_and_after,
    render,
)
from include.evaluation.reports import DATA, FOLDER
from include.evaluation.run import (
    EvaluationPlan,
    load_evaluations,
    load_results,
    load_words,
    read_query_sets,
)
from include.evaluation.slices import Wanted, slice_results
from include.evaluation.training_run import training_run
from include.evaluation.worst import WorstQueries, find_worst
from include.index.approval import approver
from include.index.live import LivePointer
from include.index.plan import Plan
from include.index.recall import K
from include.index.write import Verification
from include.queries.titles import count_words
from include.retriever.registry import load_manifest
from include.storage import ArtifactStore, digest


def publish_report(
    store: ArtifactStore,
    *,
    plan: Plan,
    comparison: ModelComparison,
    evaluation: EvaluationPlan,
    live: LivePointer | None,
    backend: str,
    verification: Verification,
    timings: dict[str, float],
) -> str:
    """Write the report of a re-index; its path in the store.

    The page is ``index.html``; the data behind it lies beside it as JSON.
    """
    report_id = digest(plan.plan_id, comparison.comparison_id)
    manifest = snapshot.load(store, plan.snapshot_id)
    trained = load_manifest(store, comparison.candidate or plan.model_version)
    data = ReportData(
        run_id=report_id,
        created_at=datetime.now(UTC),
        evaluations={
            role: load_evaluations(store, evaluation.evaluation_id, version)
            for role, version in comparison.roles.items()
        },
        decision=load_decision(store, comparison.comparison_id),
        training=training_run(store, trained),
        plan=IndexPlan(
            kind=plan.action,
            added=plan.added,
            changed=plan.changed,
            removed=plan.removed,
            unchanged=plan.unchanged,
            embedded=plan.added + plan.reembedded,
        ),
        index_check=_index_check(verification, backend),
        corpus=Corpus(
            episodes=manifest.episodes,
            shows=manifest.shows,
            languages=_languages(store, plan.snapshot_id),
            quarantined=manifest.quarantined,
        ),
        curated_left_out=evaluation.curated_left_out,
        versions=Versions(
            snapshot=plan.snapshot_id,
            source=manifest.source_version,
            model=plan.model_version,
            live_model=live.model_version if live else None,
            base_model=comparison.base,
            backend=backend,
            namespace=plan.namespace,
        ),
        timings=timings,
    )
    data = _compared(store, data, comparison, plan.snapshot_id)
    store.write_json(data.model_dump(mode="json"), FOLDER, report_id, DATA)
    store.write_bytes(render(data).encode(), FOLDER, report_id, "index.html")
    return f"{FOLDER}/{report_id}/index.html"


def headline_metrics(store: ArtifactStore, evaluation_id: str, model_version: str) -> dict[str, dict[str, float]]:
    """Mean metrics of a model by query set, as the live pointer keeps them."""
    return {
        item.query_set: {name: round(value.mean, 4) for name, value in item.metrics.items()}
        for item in load_evaluations(store, evaluation_id, model_version)
    }


def approved_by(store: ArtifactStore, *, comparison_id: str, plan_id: str) -> str | None:
    """Who let a re-index go live: accepted the model in place of the gate, or what it withdraws; None if nobody did."""
    decision = load_decision(store, comparison_id)
    accepted = decision.overruled.by if decision and decision.passed and decision.overruled else None
    return " and ".join(dict.fromkeys(filter(None, [accepted, approver(store, plan_id)]))) or None


def _compared(store: ArtifactStore, data: ReportData, comparison: ModelComparison, snapshot_id: str) -> ReportData:
    """Add what needs the results of each query: paired differences, examples, slices and the worst queries."""
    results = {
        role: load_results(store, comparison.evaluation_id, version) for role, version in comparison.roles.items()
    }
    before, after = before_and_after(data)
    if after is None:
        return data
    newest = results[after]
    vectors = {
        role: load_results(store, comparison.evaluation_id, version, dense=True)
        for role, version in comparison.roles.items()
    }
    references: list[Role] = [role for role in results if role != after]
    comparisons = [
        Comparison(
            query_set=name,
            reference=role,
            differences=differences(table, results[role][name]),
            dense=differences(vectors[after][name], vectors[role][name]),
        )
        for role in references
        for name, table in newest.items()
    ]
    labels = _labels(store, comparison.evaluation_id, snapshot_id)
    shown = "curated" if "curated" in newest else next(iter(newest), None)
    examples: ExampleChoice | None = None
    if shown:
        examples = choose(newest[shown], results[before][shown] if before else None, labels)
    wanted = _wanted(store, snapshot_id, newest)
    return data.model_copy(
        update={
            "comparisons": comparisons,
            "examples": examples,
            "slices": {name: slice_results(table, wanted) for name, table in newest.items()},
            "worst": _worst(store, comparison.evaluation_id, newest, vectors[after], labels),
        }
    )


def _worst(
    store: ArtifactStore,
    evaluation_id: str,
    results: Mapping[str, pa.Table],
    dense: Mapping[str, pa.Table],
    labels: Mapping[str, EpisodeLabel],
) -> WorstQueries | None:
    """Of the curated queries, else of the known-item ones."""
    sets = {one.name: one for one in read_query_sets(store, evaluation_id)}
    query_set = sets.get("curated") or sets.get("known")
    if query_set is None:
        return None
    lexical = load_words(store, evaluation_id, query_set)
    return find_worst(results[query_set.name], dense[query_set.name], lexical, labels)


def _wanted(store: ArtifactStore, snapshot_id: str, results: Mapping[str, pa.Table]) -> dict[str, Wanted]:
    """What slices need to know of the first episode that answers each query."""
    keys = {ids[0] for table in results.values() for ids in table["relevant"].to_pylist()}
    wanted = pa.array(sorted(keys), pa.string())
    found: dict[str, Wanted] = {}
    for batch in snapshot.reader(store, snapshot_id, columns=["episode_id", "language", "description"]):
        for row in batch.filter(pc.is_in(batch["episode_id"], value_set=wanted)).to_pylist():
            found[row["episode_id"]] = Wanted(row["language"] or "not given", count_words(row["description"] or ""))
    return found


def _labels(store: ArtifactStore, evaluation_id: str, snapshot_id: str) -> dict[str, EpisodeLabel]:
    catalogue = store.read_table("evaluations", evaluation_id, "catalogue.parquet")["episode_id"]
    table = snapshot.read(store, snapshot_id, columns=["episode_id", "title", "show_title"])
    table = table.filter(pc.is_in(table["episode_id"], value_set=catalogue.combine_chunks()))
    return {row["episode_id"]: EpisodeLabel(row["title"], row["show_title"]) for row in table.to_pylist()}


def _languages(store: ArtifactStore, snapshot_id: str) -> dict[str, int]:
    languages = snapshot.read(store, snapshot_id, columns=["language"])["language"]
    return {item["values"] or "not given": item["counts"] for item in pc.value_counts(languages).to_pylist()}


def _index_check(verification: Verification, backend: str) -> IndexCheck | None:
    if verification.recall is None:
        return None
    return IndexCheck(
        kind=f"{backend}, {verification.kind}",
        vectors=verification.rows,
        queries=verification.queries,
        k=K,
        recall=verification.recall,
        compared=verification.sampled,
        golden=verification.golden,
    )
