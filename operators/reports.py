"""How tasks report the faults they meet, and that those are over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context

from operators.telling import announcer, base_url, harmless, resolve, tell_of_task

if TYPE_CHECKING:
    from include.alerts.alert import FaultKind
    from include.alerts.book import Fault
    from include.alerts.state import Lag
    from include.evaluation.gate import Decision
    from include.feedback.figures import Fall
    from include.index.live import LivePointer
    from include.index.rollback import Rollback
    from include.index.watched import Change
    from include.quality.result import QualityResult
    from include.search.canaries import Checked


def report_quality(result: QualityResult) -> None:
    """Report the warnings of a validation that did not stop its run, or that there are no more."""
    from include.alerts.alert import FaultKind
    from include.alerts.facts import quality_facts

    _report(FaultKind.QUALITY, quality_facts(result, "warning", base_url()) if result.warnings else None)


def report_gate(candidate: str, decision: Decision) -> None:
    """Report that a new model was refused, or that one has passed since."""
    from include.alerts.alert import FaultKind
    from include.alerts.facts import gate_facts

    _report(FaultKind.GATE, None if decision.passed else gate_facts(candidate, decision))


def report_answered(task_id: str) -> None:
    """Report that a task's question in this DAG was answered, or is no longer asked."""
    from include.alerts.alert import FaultKind

    with harmless():
        resolve(FaultKind.APPROVAL, task_id=task_id)


def report_rollback(rollback: Rollback, *, by: str) -> None:
    """Report that search answers with an earlier model again, until another goes live.

    :param by: who approved it.
    """
    from include.alerts.alert import FaultKind
    from include.alerts.facts import rollback_facts

    _report(FaultKind.ROLLBACK, rollback_facts(rollback, by=by))


def report_live(model_version: str) -> None:
    """Report what went live: a rollback is over once another model than its target is live."""
    from include.alerts.alert import FaultKind

    def ended(fault: Fault) -> bool:
        return fault.alert.kind is FaultKind.ROLLBACK and not fault.alert.cause.endswith(f" → {model_version}")

    with harmless():
        announcer().resolve(ended, datetime.now(UTC))


def report_freshness(age: timedelta, limit: timedelta | None) -> None:
    """Report a published snapshot that is too old, or that it no longer is.

    :param limit: None if it may be of any age.
    """
    from include.alerts.alert import FaultKind
    from include.alerts.facts import freshness_facts

    _report(FaultKind.FRESHNESS, freshness_facts(age, limit) if limit is not None and age > limit else None)


def report_lag(lag: Lag | None, limit: timedelta) -> None:
    """Report that search has been behind the published snapshot for too long, or that it has caught up."""
    from include.alerts.alert import FaultKind
    from include.alerts.facts import lag_facts

    now = datetime.now(UTC)
    _report(FaultKind.LAG, lag_facts(lag, now) if lag and now - lag.since > limit else None)


def report_search(checked: Checked | None, live: LivePointer | None) -> None:
    """Report that search does not find what it is known to find, or that it does again."""
    from include.alerts.alert import FaultKind
    from include.alerts.facts import search_facts

    _report(FaultKind.SEARCH, search_facts(checked, live) if live and checked and checked.lost else None)


def report_changes(changes: Sequence[Change], live: LivePointer) -> None:
    """Report that live search is smaller, scores lower or answers later than on recent days, or that this is over."""
    from include.alerts.alert import FaultKind
    from include.alerts.facts import change_facts

    _report(FaultKind.CHANGE, change_facts(changes, live) if changes else None)


def report_listening(falls: Sequence[Fall]) -> None:
    """Report that listeners find less than they used to, or that this is over."""
    from include.alerts.alert import FaultKind
    from include.alerts.facts import listening_facts

    _report(FaultKind.LISTENING, listening_facts(falls) if falls else None)


def _report(kind: FaultKind, facts: dict[str, Any] | None) -> None:
    """Report a fault that this task has met, or that there is none (any more)."""
    with harmless():
        if facts is None:
            resolve(kind)
        else:
            tell_of_task(kind, get_current_context(), facts)
