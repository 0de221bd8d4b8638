"""The gate: a new model goes live only if it is shown to be no worse than the one it replaces, within a tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from include.evaluation.formatting import number, signed
from include.evaluation.metrics import check_same_queries, clusters, resample

CHECKED = ("mrr@30", "recall@30")
QUERY_SETS = ("test", "curated")
MIN_INDEPENDENT_QUERIES = 5
"""With fewer queries that ask for different episodes, a bootstrap says nothing."""
NAMES = {"mrr@30": "MRR@30", "recall@30": "Recall@30"}

Outcome = Literal["passed", "failed", "too small", "missing"]


class Check(BaseModel):
    """One metric of one query set: non-inferiority of the candidate."""

    query_set: str
    metric: str
    outcome: Outcome
    queries: int = 0
    candidate: float | None = None
    reference: float | None = None
    difference: float | None = None
    lower_bound: float | None = None
    """One-sided 95 % lower bound of the mean difference."""

    @property
    def decides(self) -> bool:
        return self.outcome in ("passed", "failed")


class Decision(BaseModel):
    """Whether the candidate may go live, why, and every check behind it."""

    passed: bool
    tolerance: float
    reference: str | None = None
    """Version of the model that it was compared with; None if there is none."""
    reasons: list[str]
    checks: list[Check] = []


def decide(
    candidate: Mapping[str, pa.Table],
    reference: Mapping[str, pa.Table] | None,
    *,
    reference_version: str | None = None,
    tolerance: float = 0.05,
    seed: int = 0,
) -> Decision:
    """Compare a candidate with the live model, or with the base model if none is live.

    For each query set, and for MRR@30 and Recall@30, the paired bootstrap of per-query differences gives a one-sided
    95 % lower bound of the mean difference; the check passes if that is at least ``-tolerance``. A set that is
    missing or too small is said and does not decide; if none decides, nothing shows that the candidate is as good,
    and it is refused.

    :param candidate: per-query results (:data:`include.evaluation.metrics.RESULTS`) by query set.
    :param reference: the same of the other model; None if there is no other: then the candidate passes.
    :raises ValueError: the two were measured on different queries.
    """
    if reference is None:
        return Decision(
            passed=True,
            tolerance=tolerance,
            reasons=["There is no earlier model to compare with: this one is the first."],
        )
    checks = [
        check
        for query_set in QUERY_SETS
        for check in _checks(query_set, candidate.get(query_set), reference.get(query_set), tolerance, seed)
    ]
    reasons = _reasons(checks, tolerance)
    decisive = [check for check in checks if check.decides]
    if not decisive:
        reasons.insert(
            0, "No query set is large enough to show that the candidate is as good as the model it would replace."
        )
    passed = bool(decisive) and all(check.outcome == "passed" for check in decisive)
    return Decision(passed=passed, tolerance=tolerance, reference=reference_version, reasons=reasons, checks=checks)


def _checks(
    query_set: str, candidate: pa.Table | None, reference: pa.Table | None, tolerance: float, seed: int
) -> list[Check]:
    if candidate is None or reference is None or not len(candidate):
        return [Check(query_set=query_set, metric=metric, outcome="missing") for metric in CHECKED]
    check_same_queries(candidate, reference)
    groups = clusters(candidate)
    small = len(np.unique(groups)) < MIN_INDEPENDENT_QUERIES
    checks = []
    for metric in CHECKED:
        new, old = candidate[metric].to_numpy(), reference[metric].to_numpy()
        check = Check(
            query_set=query_set,
            metric=metric,
            outcome="too small",
            queries=len(candidate),
            candidate=float(new.mean()),
            reference=float(old.mean()),
            difference=float((new - old).mean()),
        )
        if not small:
            bound = float(resample(new - old, groups, seed=seed, alternative="greater").confidence_interval.low)
            # The bound of a difference that is exactly the tolerance may miss it by rounding.
            passed = bound >= -tolerance - 1e-9
            check = check.model_copy(update={"lower_bound": bound, "outcome": "passed" if passed else "failed"})
        checks.append(check)
    return checks


def _reasons(checks: list[Check], tolerance: float) -> list[str]:
    """One sentence for each check that decides, one for each query set that does not."""
    sentences: dict[str, None] = {}
    for check in checks:
        sentences[_sentence(check, tolerance)] = None
    return list(sentences)


def _sentence(check: Check, tolerance: float) -> str:
    if check.outcome == "missing":
        return f"There are no {check.query_set} queries to compare on."
    if check.outcome == "too small" or check.lower_bound is None:
        return (
            f"The {check.query_set} queries ask for fewer than {MIN_INDEPENDENT_QUERIES} different episodes: "
            "too few to decide by."
        )
    change, bound, allowed = (signed(value) for value in (check.difference, check.lower_bound, -tolerance))
    figures = (
        f"{NAMES[check.metric]} on {check.queries:,} {check.query_set} queries went from {number(check.reference)} to "
        f"{number(check.candidate)} ({change})"
    )
    if check.outcome == "passed":
        return f"{figures}; with 95 % confidence the change is {bound} or better, and {allowed} is allowed."
    return f"{figures}; with 95 % confidence it may be as low as {bound}, and only {allowed} is allowed."
