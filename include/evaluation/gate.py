"""The gate: a new model goes live unless it is shown to lose more than the tolerance to the one it replaces.

A small set of queries has wide intervals whatever the model, so a wide interval is no reason to refuse one. The
decision says what a set cannot show, and a setting decides what follows from that. ``docs/gate.md`` has the rule and
how often it is right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel

from include.errors import PermanentError
from include.evaluation.formatting import number, signed
from include.evaluation.metrics import METRIC_NAMES, check_same_queries, clusters

CHECKED = ("mrr@30", "recall@30")
QUERY_SETS = ("test", "curated")
OPTIONAL = ("played",)
"""Sets that also count, if they exist."""
MIN_INDEPENDENT_QUERIES = 5
"""With fewer queries that ask for different episodes, nothing can be said about the spread of their differences."""
FALSE_REFUSALS = 0.05
"""How often, at most, a model that is as good as the other is refused; the checks of a decision share it."""
POWER = 0.95
"""How often a loss of twice the tolerance has to be shown for the queries to be enough."""

RULE = 3
"""Version of this rule; refusals by an earlier rule do not count."""

CheckOutcome = Literal["passed", "failed", "too small", "missing"]
Verdict = Literal["accept", "refuse"]


class Check(BaseModel):
    """One metric of one query set: does the candidate lose more than the tolerance?"""

    query_set: str
    metric: str
    outcome: CheckOutcome
    queries: int = 0
    candidate: float | None = None
    reference: float | None = None
    difference: float | None = None
    largest_allowed: float | None = None
    """A loss up to this is within the tolerance, or within what chance explains; a larger one counts as shown."""
    power: float = 0.0
    """Probability that a model which is worse by twice the tolerance is refused by this check alone."""
    queries_needed: int | None = None
    """About how many independent queries would give the check :data:`POWER`."""

    @property
    def decides(self) -> bool:
        return self.outcome in ("passed", "failed")


class UnexplainedError(PermanentError):
    """A person decides instead of the gate, without giving a reason."""


class Overruling(BaseModel):
    """What a person decided instead of the gate."""

    verdict: Verdict
    reason: str
    by: str | None = None
    """Who decided; None if Airflow does not know."""


class Decision(BaseModel):
    """Whether the candidate may go live, why, and every check behind it."""

    passed: bool
    tolerance: float
    reference: str | None = None
    """Version of the model that it was compared with; None if there is none."""
    reasons: list[str]
    checks: list[Check] = []
    power: float = 1.0
    """Probability that these queries together show that a model is worse by twice the tolerance."""
    rule: int = 1
    overruled: Overruling | None = None

    @property
    def is_sure(self) -> bool:
        """A loss is shown, or the queries are enough to have shown one."""
        return not self.passed or self.power >= POWER


def decide(
    candidate: Mapping[str, pa.Table],
    reference: Mapping[str, pa.Table],
    *,
    reference_version: str | None = None,
    tolerance: float = 0.05,
) -> Decision:
    """Compare a candidate with the live model, or with the base model if none is live.

    For each query set, and for MRR@30 and Recall@30, a loss is shown if the mean of the per-query differences is below
    zero by more than the tolerance and by more than chance explains: Student's one-sided paired test (of the tests for
    retrieval the one that keeps its level best: Urbano, Lima & Hanjalic, SIGIR 2019), at :data:`FALSE_REFUSALS` shared
    by the checks (Bonferroni), counting queries with the same answer together. A single shown loss refuses the
    candidate. If none is shown, :attr:`Decision.power` says what that is worth.

    :param candidate: per-query results (:data:`include.evaluation.metrics.RESULTS`) by query set.
    :param reference: the same of the other model.
    :raises ValueError: the two were measured on different queries.
    """
    names = (*QUERY_SETS, *(name for name in OPTIONAL if name in candidate or name in reference))
    sets = {query_set: _paired(candidate.get(query_set), reference.get(query_set)) for query_set in names}
    deciding = [pair for pair in sets.values() if pair and _independent(pair[2]) >= MIN_INDEPENDENT_QUERIES]
    level = FALSE_REFUSALS / max(len(deciding) * len(CHECKED), 1)
    checks = [
        _check(query_set, metric, pair, tolerance, level) for query_set, pair in sets.items() for metric in CHECKED
    ]
    power = 1 - math.prod(
        1 - max(check.power for check in checks if check.query_set == query_set) for query_set in names
    )
    decision = Decision(
        passed=all(check.outcome != "failed" for check in checks),
        tolerance=tolerance,
        reference=reference_version,
        reasons=list(dict.fromkeys(_sentence(check, tolerance) for check in checks)),
        checks=checks,
        power=power,
        rule=RULE,
    )
    if not decision.is_sure:
        decision.reasons.append(_lack_of_power(decision))
    return decision


def overrule(decision: Decision, verdict: Verdict, *, reason: str, by: str | None) -> Decision:
    """The decision that a person makes instead of the gate; the gate's findings stay part of it.

    :raises UnexplainedError: no reason is given.
    """
    overruling = Overruling(verdict=verdict, reason=explained(verdict, reason), by=by)
    words = f"{by or 'A person'} decided that the model is {_DONE[verdict]}: {overruling.reason}"
    return decision.model_copy(
        update={"passed": verdict == "accept", "overruled": overruling, "reasons": [words, *decision.reasons]}
    )


def explained(verdict: Verdict, reason: str) -> str:
    """The reason for overruling the gate, without white space around it.

    :raises UnexplainedError: there is none.
    """
    if not reason.strip():
        raise UnexplainedError(
            f"Give a reason why the model should be {_DONE[verdict]}: it is recorded with the decision."
        )
    return reason.strip()


_DONE = {"accept": "accepted", "refuse": "refused"}

_Paired = tuple[pa.Table, pa.Table, npt.NDArray[np.int64]]


def _paired(candidate: pa.Table | None, reference: pa.Table | None) -> _Paired | None:
    """Both results and the group of each query; None if either is missing."""
    if candidate is None or reference is None or not len(candidate):
        return None
    check_same_queries(candidate, reference)
    return candidate, reference, clusters(candidate)


def _check(query_set: str, metric: str, pair: _Paired | None, tolerance: float, level: float) -> Check:
    from scipy import stats  # which who reads the decision need not load

    if pair is None:
        return Check(query_set=query_set, metric=metric, outcome="missing")
    new, old, groups = pair[0][metric].to_numpy(), pair[1][metric].to_numpy(), pair[2]
    independent = _independent(groups)
    loss = float((old - new).mean())
    check = Check(
        query_set=query_set,
        metric=metric,
        outcome="too small",
        queries=len(groups),
        candidate=float(new.mean()),
        reference=float(old.mean()),
        difference=-loss,
    )
    if independent < MIN_INDEPENDENT_QUERIES:
        return check
    error = _standard_error(new - old, groups)
    critical = float(stats.t.isf(level, independent - 1))
    allowed = max(tolerance, critical * error)
    # A loss that is exactly the tolerance may miss it by rounding.
    outcome: CheckOutcome = "failed" if loss > allowed + 1e-9 else "passed"
    # A loss need not come from the queries that differ now: at worst, each query that loses loses its episode.
    alternative = math.hypot(error, math.sqrt(2 * tolerance * max(1 - 2 * tolerance, 0) / independent))
    shown = stats.t.cdf(
        (2 * tolerance - max(tolerance, critical * alternative)) / alternative if alternative else 0.0, independent - 1
    )
    return check.model_copy(
        update={
            "outcome": outcome,
            "largest_allowed": allowed,
            "power": float(shown),
            "queries_needed": _queries_needed(alternative * math.sqrt(independent), tolerance, level),
        }
    )


def _independent(groups: npt.NDArray[np.int64]) -> int:
    """How many groups there are: they are numbered from 0."""
    return int(groups.max()) + 1


def _standard_error(values: npt.NDArray[np.float64], groups: npt.NDArray[np.int64]) -> float:
    """Of the mean, queries of one group counting together (cluster-robust; one query a group: the ordinary one)."""
    count = _independent(groups)
    sums = np.bincount(groups, values - values.mean())
    return float(np.sqrt(count / (count - 1) * (sums**2).sum()) / len(values))


def _queries_needed(deviation: float, tolerance: float, level: float) -> int | None:
    """Independent queries for :data:`POWER`, from the deviation of one; None if nothing may be lost at all."""
    from scipy import stats

    if tolerance == 0:
        return None
    sure = float(stats.norm.isf(1 - POWER))
    error = tolerance / max(sure, (float(stats.norm.isf(level)) + sure) / 2)
    return math.ceil((deviation / error) ** 2)


def _sentence(check: Check, tolerance: float) -> str:
    if check.outcome == "missing":
        return f"There are no {check.query_set} queries to compare on."
    if check.outcome == "too small" or check.largest_allowed is None:
        return (
            f"The {check.query_set} queries ask for fewer than {MIN_INDEPENDENT_QUERIES} different episodes: "
            "too few for a decision."
        )
    figures = (
        f"{METRIC_NAMES[check.metric]} on {check.queries:,} {check.query_set} queries went from "
        f"{number(check.reference)} to {number(check.candidate)} ({signed(check.difference)})"
    )
    if check.outcome == "failed":
        return f"{figures}: a loss of more than {number(check.largest_allowed)} counts as shown."
    if check.largest_allowed > tolerance:
        return f"{figures}; with so few queries, chance alone explains up to ±{number(check.largest_allowed)}."
    return f"{figures}; a loss of {number(tolerance)} is allowed."


def _lack_of_power(decision: Decision) -> str:
    needed = [check.queries_needed for check in decision.checks if check.queries_needed]
    more = f"; about {min(needed):,} queries for different episodes would be enough" if needed else ""
    return (
        f"There are too few queries to be sure: they would show a loss of {number(2 * decision.tolerance)} in "
        f"{100 * decision.power:.0f} % of cases{more}."
    )
