"""The report of a run: one self-contained HTML page that says whether search got better, and shows the evidence."""

from __future__ import annotations

import math
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel

from include.evaluation.examples import ExampleChoice
from include.evaluation.formatting import count, number, seconds, share, signed
from include.evaluation.gate import CHECKED, OPTIONAL, Decision
from include.evaluation.metrics import METRIC_NAMES, Interval, ModelEvaluation
from include.evaluation.sides import Change, brought, direction
from include.evaluation.slices import FEWEST, Slices
from include.evaluation.training_run import TrainingRun
from include.evaluation.worst import WorstQueries
from include.index.fusion import DEPTH

Role = Literal["base", "live", "candidate"]
ROLES: tuple[Role, ...] = ("base", "live", "candidate")
ROLE_NAMES: dict[str, str] = {"base": "Base model", "live": "Live until now", "candidate": "Candidate"}
TOLD = ("recall@30", "mrr@30")
"""What the headline may mention, the most telling first."""
LANGUAGES_SHOWN = 8
QUERY_SET_NAMES = {
    "test": "Test queries",
    "known": "Known-item queries",
    "played": "Played queries",
    "curated": "Curated queries",
}


class Comparison(BaseModel):
    """Paired differences of the candidate from another model on one query set."""

    query_set: str
    reference: Role
    differences: dict[str, Interval]
    """From :func:`include.evaluation.metrics.differences`."""
    dense: dict[str, Interval] = {}
    """The same of the vectors alone; empty in reports of earlier releases."""


class IndexPlan(BaseModel):
    """What was done to the index."""

    kind: Literal["nothing", "difference", "full"]
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    embedded: int = 0
    """Episodes that were encoded in this run."""


class IndexCheck(BaseModel):
    """How much of exact search's answer the approximate index returns."""

    kind: str
    """Backend and index type, as displayed."""
    vectors: int
    queries: int
    k: int
    recall: float
    """Mean share of the exact k nearest that the index returns."""
    compared: int = 0
    """Records whose vector and metadata were read back."""
    golden: int = 0
    """Of these, searched for by their own vectors, and found."""


class Corpus(BaseModel):
    """The catalogue that is searched."""

    episodes: int
    shows: int
    languages: dict[str, int] = {}
    quarantined: dict[str, int] = {}
    """Reason to rows of the source that were set aside."""


class Versions(BaseModel):
    """What exactly was measured."""

    snapshot: str | None = None
    source: str | None = None
    model: str | None = None
    live_model: str | None = None
    base_model: str | None = None
    backend: str | None = None
    namespace: str | None = None


class ReportData(BaseModel):
    """Everything that a report shows. What a run does not have stays empty, and the page says so."""

    run_id: str
    created_at: datetime
    evaluations: dict[Role, list[ModelEvaluation]] = {}
    comparisons: list[Comparison] = []
    decision: Decision | None = None
    training: TrainingRun | None = None
    plan: IndexPlan | None = None
    index_check: IndexCheck | None = None
    corpus: Corpus | None = None
    examples: ExampleChoice | None = None
    slices: dict[str, list[Slices]] = {}
    """How the newest model does on slices of each query set."""
    worst: WorstQueries | None = None
    """The newest model's."""
    curated_left_out: int = 0
    """Curated queries none of whose episodes are in the catalogue."""
    versions: Versions = Versions()
    timings: dict[str, float] = {}
    """What took how many seconds, in order."""


def render(data: ReportData) -> str:
    """The report as one HTML page that loads nothing: no network, no script, all text escaped."""
    before, after = before_and_after(data)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            before=before,
            after=after,
            roles=[role for role in ROLES if data.evaluations.get(role)],
            role_names=ROLE_NAMES,
            metric_names=METRIC_NAMES,
            headline=headline(data),
            cause=cause(data),
            query_sets=[_query_set(data, name) for name in _query_set_names(data)],
            missing_sets=[name for name in QUERY_SET_NAMES if name not in (*OPTIONAL, *_query_set_names(data))],
            languages=_languages(data.corpus),
            training_plots=_training_plots(data.training),
            fewest=FEWEST,
            depth=DEPTH,
        )
    )


def before_and_after(data: ReportData) -> tuple[Role | None, Role | None]:
    """The two models that the report compares: what would be replaced, and what is proposed or in use.

    Only a candidate has something before it: the live model or, when none is live, the base model.
    """
    measured = [role for role in ROLES if data.evaluations.get(role)]
    after = next((role for role in ("candidate", "live", "base") if role in measured), None)
    before = next((role for role in ("live", "base") if role in measured), None) if after == "candidate" else None
    return before, after


def headline(data: ReportData) -> str:
    """One plain sentence: did search get better?"""
    before, after = before_and_after(data)
    if after is None:
        return "This run measured nothing."
    name, metric = _telling(data, before, after)
    new, old = _find(data, after, name), _find(data, before, name)
    assert new is not None
    asked = f"of the episodes that {name} queries ask for, {_percent(new)} are among the first 30 results"
    if old is None:
        return f"{asked[0].upper()}{asked[1:]}."
    verdict = _verdict([item for item in data.comparisons if item.reference == before])
    earlier = "before" if before == "live" else "with the base model"
    if metric == "recall@30":
        return f"{verdict}: {asked}; {earlier}, {_percent(old)}."
    was, now = old.metrics[metric].mean, new.metrics[metric].mean
    return (
        f"{verdict}: right episodes rank {'higher' if now > was else 'lower'} in the results of {name} queries "
        f"({METRIC_NAMES[metric]} {number(now, 2)}; {earlier}, {number(was, 2)})."
    )


def cause(data: ReportData) -> str:
    """Which side brought the change in the headline; empty if nothing is compared, or the sides were not measured."""
    before, after = before_and_after(data)
    if before is None or after is None:
        return ""
    found = {item.query_set: item for item in data.comparisons if item.reference == before}
    return brought(
        [
            Change(
                f"{METRIC_NAMES[metric]} of {name} queries", found[name].differences[metric], found[name].dense[metric]
            )
            for name in reversed(_query_set_names(data))
            for metric in TOLD
            if name in found and metric in found[name].differences and metric in found[name].dense
        ]
    )


def _telling(data: ReportData, before: Role | None, after: Role) -> tuple[str, str]:
    """Query set and metric of the headline: curated queries and Recall@30, unless only others changed."""
    names = [name for name in reversed(_query_set_names(data)) if _find(data, after, name)]
    found = {item.query_set: item.differences for item in data.comparisons if item.reference == before}
    for name in names:
        for metric in TOLD:
            if metric in found.get(name, {}) and direction(found[name][metric]):
                return name, metric
    return names[0], TOLD[0]


def _verdict(comparisons: list[Comparison]) -> str:
    """Better or worse only where an interval excludes zero."""
    changes = [item.differences[metric] for item in comparisons for metric in CHECKED if metric in item.differences]
    if not changes:
        return "Search was measured again"
    directions = {direction(change) for change in changes}
    if {1, -1} <= directions:
        return "Search got better in one way and worse in another"
    if 1 in directions:
        return "Search got better"
    return "Search got worse" if -1 in directions else "Search is about as good as before"


def _percent(evaluation: ModelEvaluation) -> str:
    """Recall@30 in per cent, rounded from the two digits that the page shows."""
    return f"{100 * float(number(evaluation.metrics['recall@30'].mean, 2)):.0f}\N{NO-BREAK SPACE}%"


def _query_set_names(data: ReportData) -> list[str]:
    found = {evaluation.query_set for evaluations in data.evaluations.values() for evaluation in evaluations}
    return [name for name in QUERY_SET_NAMES if name in found]


def _find(data: ReportData, role: Role | None, query_set: str) -> ModelEvaluation | None:
    evaluations = data.evaluations.get(role, []) if role else []
    return next((evaluation for evaluation in evaluations if evaluation.query_set == query_set), None)


def _query_set(data: ReportData, name: str) -> dict[str, Any]:
    """What the template shows of one query set: evaluations by role, the differences, and two plots."""
    from include.evaluation import plots  # which who reads the figures need not load

    before, _ = before_and_after(data)
    compared = next((item for item in data.comparisons if item.query_set == name and item.reference == before), None)
    evaluations = {role: found for role in ROLES if (found := _find(data, role, name))}
    title = QUERY_SET_NAMES[name]
    shown = " and ".join(ROLE_NAMES[role].lower() for role in evaluations)
    bars = [plots.Series(role, ROLE_NAMES[role], found.metrics) for role, found in evaluations.items()]
    shares = [
        plots.Series(
            role,
            ROLE_NAMES[role],
            {bucket: Interval(mean=count / found.queries) for bucket, count in found.ranks.items()},
        )
        for role, found in evaluations.items()
        if found.ranks
    ]
    return {
        "name": name,
        "title": title,
        "evaluations": evaluations,
        "size": next(iter(evaluations.values())),
        "judged": any(found.judged is not None for found in evaluations.values()),
        "sides": _sides(evaluations),
        "slices": data.slices.get(name, []),
        "differences": compared.differences if compared else {},
        "dense_differences": compared.dense if compared else {},
        "metric_plot": plots.metric_bars(
            bars,
            names=METRIC_NAMES,
            description=f"{title}: bars of each metric for {shown}; the table has the figures.",
        ),
        "rank_plot": plots.rank_distribution(
            shares, description=f"{title}: share of queries by the rank of the first right episode, for {shown}."
        )
        if shares
        else None,
    }


def _sides(evaluations: dict[Role, ModelEvaluation]) -> list[tuple[str, str, dict[str, Interval]]]:
    """Name, detail and metrics of each side alone; words are the same for every model."""
    measured = {role: found.sides for role, found in evaluations.items() if found.sides}
    meaning = [("Meaning alone", ROLE_NAMES[role].lower(), sides["dense"]) for role, sides in measured.items()]
    words = [("Words alone", "whatever the model", sides["lexical"]) for sides in measured.values()]
    return [*meaning, *words[:1]]


def _languages(corpus: Corpus | None) -> list[tuple[str, int]]:
    """The most spoken languages, the rest as one."""
    ranked = sorted((corpus.languages if corpus else {}).items(), key=lambda item: (-item[1], item[0]))
    rest = sum(number for _, number in ranked[LANGUAGES_SHOWN:])
    return ranked[:LANGUAGES_SHOWN] + ([(f"{len(ranked) - LANGUAGES_SHOWN} others", rest)] if rest else [])


def _training_plots(training: TrainingRun | None) -> dict[str, Markup]:
    """Of the loss, and of what was measured meanwhile, by name."""
    from include.evaluation import plots

    drawn = training and (("Training loss", "", training.losses), ("In-batch MRR@5", "o", training.evaluations))
    return {
        name: plots.training_curve(
            points,
            marker=marker,
            description=f"{name} by step, from {number(points[0][1])} to {number(points[-1][1])}.",
        )
        for name, marker, points in drawn or ()
        if any(math.isfinite(value) for _, value in points)
    }


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "signed": signed, "count": count, "share": share, "seconds": seconds}
    return environment
