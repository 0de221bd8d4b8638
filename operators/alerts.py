"""Alerts from Airflow: which callbacks and tasks report what, and the connections that messages go through.

Nothing here raises: what cannot be told is logged, kept in the book of faults, and told on the next occasion.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import redact
from airflow.sdk import BaseNotifier, conf, get_current_context
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from include.errors import PermanentError
from include.settings import get_settings
from include.storage import ArtifactStore

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.alerts.alert import Alert, Kind, Link
    from include.alerts.announce import Announcer
    from include.alerts.book import Fault
    from include.alerts.facts import Lag
    from include.evaluation.gate import Decision
    from include.feedback.figures import Fall
    from include.index.live import LivePointer
    from include.index.rollback import Rollback
    from include.quality.result import QualityResult
    from include.search.canaries import Checked

log = logging.getLogger(__name__)

MEND = "Mend the cause, then clear the failed task: finished work is kept."
LOST = (
    "Its process ended without saying why: it was killed, or the machine ran out of memory. "
    "Look at the machine and the task's log, then clear the failed task."
)


class AlertNotifier(BaseNotifier):
    """Reports what a callback of Airflow is about; a subclass for each occasion."""

    def notify(self, context: Context) -> None:
        with harmless():
            self.report(context)

    async def async_notify(self, context: Context) -> None:
        # Sending waits for other machines, and the triggerer's event loop must not.
        await asyncio.to_thread(self.notify, context)

    @abstractmethod
    def report(self, context: Context) -> None:
        """Tell of what the context is about."""


class TaskFailed(AlertNotifier):
    """For ``on_failure_callback`` of a task: it failed, and will not be tried again."""

    def report(self, context: Context) -> None:
        from include.alerts.alert import Kind
        from include.alerts.facts import quality_facts
        from include.quality.result import QualityError

        ti, error = context["ti"], context.get("exception")
        facts: dict[str, Any] = {"cause": type(error).__name__, "headline": "The task failed", "next_step": MEND}
        if not isinstance(error, BaseException):
            facts |= {"cause": "lost", "headline": "The task was lost", "next_step": LOST}
        elif isinstance(error, QualityError) and (result := _result_of(ti.task)):
            facts |= quality_facts(result, "critical", _base_url())
        else:
            facts |= {"headline": _first_line(error), "detail": redact(f"{type(error).__name__}: {error}")}
            if not isinstance(error, PermanentError):
                facts["next_step"] = f"It was tried {ti.try_number} times. {MEND}"
        facts.setdefault("links", []).insert(0, _link("Task", ti.dag_id, ti.run_id, ti.task_id, ti.map_index))
        announcer().met(_alert(Kind.FAILURE, ti.dag_id, ti.run_id, context, task_id=ti.task_id, **facts))


class RunFailed(AlertNotifier):
    """For ``on_failure_callback`` of a DAG: reports the failed tasks that could not do it themselves.

    Airflow does not call a task's callbacks when its process was killed (apache/airflow#60858).
    """

    def report(self, context: Context) -> None:
        from include.alerts.alert import Kind, fault_id
        from include.alerts.book import FaultBook

        dag_id, run_id = context["dag"].dag_id, str(context["run_id"])
        book, teller = FaultBook(_store()), announcer()
        failed = _failed_tasks(context)
        for task_id in failed:
            known = book.read(fault_id(dag_id, task_id, Kind.FAILURE))
            if known is None or known.alert.run_id != run_id:
                facts = {"cause": "lost", "headline": "The task was lost", "next_step": LOST}
                links = [_link("Task", dag_id, run_id, task_id)]
                teller.met(_alert(Kind.FAILURE, dag_id, run_id, context, task_id=task_id, links=links, **facts))
        if not failed:
            reason = str(context.get("reason") or "failed")
            links = [_link("Run", dag_id, run_id)]
            teller.met(
                _alert(
                    Kind.FAILURE,
                    dag_id,
                    run_id,
                    context,
                    cause=reason,
                    headline=f"Run: {reason}",
                    next_step=MEND,
                    links=links,
                )
            )


class RunSucceeded(AlertNotifier):
    """For ``on_success_callback`` of a DAG: what failed in it, and in runs before, is over.

    Not what a newer run has met: this one may be an old one, of which a task was cleared.
    """

    def report(self, context: Context) -> None:
        from include.alerts.alert import Kind

        dag_id, run = context["dag"].dag_id, context.get("dag_run")
        ended_at = getattr(run, "end_date", None) or datetime.now(UTC)
        kinds, run_after = (Kind.FAILURE, Kind.DEADLINE), _run_after(context)

        def ended(fault: Fault) -> bool:
            ours = fault.alert.dag_id == dag_id and fault.alert.kind in kinds
            return ours and fault.may_be_ended_by(run_after)

        announcer().over(ended, ended_at)


class ApprovalAwaited(AlertNotifier):
    """For the ``notifiers`` of an operator that asks a person: its question is open."""

    def report(self, context: Context) -> None:
        from include.alerts.alert import Kind

        ti, question = context["ti"], str(getattr(context["task"], "subject", "Approve?"))
        link = _link("Answer", ti.dag_id, ti.run_id, ti.task_id)
        announcer().met(
            _alert(
                Kind.APPROVAL,
                ti.dag_id,
                ti.run_id,
                context,
                task_id=ti.task_id,
                cause=question,
                headline=f"Waits for approval: {question}",
                next_step=(
                    "Approve or reject it in Airflow (Required Actions). Until then, and if it is rejected, search "
                    "goes on with what is live; later runs of the DAG wait."
                ),
                links=[link.model_copy(update={"url": f"{link.url}/required_actions"})],
            )
        )


class DeadlineMissed(AlertNotifier):
    """For the callback of a :class:`~airflow.sdk.DeadlineAlert`: a run did not end in time."""

    def report(self, context: Context) -> None:
        from include.alerts.alert import Kind

        run: Any = context["dag_run"]  # a plain dictionary here
        dag_id, run_id = run["dag_id"], run["dag_run_id"]
        announcer().met(
            _alert(
                Kind.DEADLINE,
                dag_id,
                run_id,
                context,
                headline=f"A run has not ended in time: it is {run['state']}",
                next_step="Look at which of its tasks runs or waits, and for what; the next run waits for this one.",
                links=[_link("Run", dag_id, run_id)],
            )
        )


def end_within(hours: float) -> DeadlineAlert:
    """A deadline for the runs of a DAG, counted from when a run was queued."""
    return DeadlineAlert(
        name=f"within {hours:g} hours",
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        # In seconds: as a timedelta, Airflow 3.3 cannot read it again when somebody clears a task of a run whose
        # deadline still stands because the run failed or was marked, and refuses the clear (apache/airflow#70368).
        interval=timedelta(hours=hours).total_seconds(),  # type: ignore[arg-type]
        # In the triggerer and not on an executor, whose slots may be what the run is waiting for.
        callback=AsyncCallback(DeadlineMissed),
    )


def report_quality(result: QualityResult) -> None:
    """Report the warnings of a validation that let its run go on, or that there are none any more."""
    from include.alerts.alert import Kind, fault_id
    from include.alerts.facts import quality_facts

    with harmless():
        context = get_current_context()
        ti = context["ti"]
        if result.warnings:
            facts = quality_facts(result, "warning", _base_url())
            facts["links"].insert(0, _link("Task", ti.dag_id, ti.run_id, ti.task_id, ti.map_index))
            announcer().met(_alert(Kind.QUALITY, ti.dag_id, ti.run_id, context, task_id=ti.task_id, **facts))
        else:
            over(fault_id(ti.dag_id, ti.task_id, Kind.QUALITY))


def report_gate(candidate: str, decision: Decision) -> None:
    """Report that a new model was refused, or that one has passed since."""
    from include.alerts.alert import Kind, fault_id

    with harmless():
        context = get_current_context()
        ti = context["ti"]
        if decision.passed:
            over(fault_id(ti.dag_id, ti.task_id, Kind.GATE))
            return
        announcer().met(
            _alert(
                Kind.GATE,
                ti.dag_id,
                ti.run_id,
                context,
                task_id=ti.task_id,
                cause=candidate,
                headline=f"The new model {candidate} was refused",
                detail="\n".join(decision.reasons),
                next_step=(
                    "Search goes on with the live model. Look at the comparison; train on better pairs, or trigger "
                    "reindex_episodes with “Overrule the gate” if the loss is acceptable."
                ),
                links=[_link("Task", ti.dag_id, ti.run_id, ti.task_id)],
            )
        )


def report_answered(task_id: str) -> None:
    """Report that a question of a task of this DAG was answered, or is not asked any more."""
    from include.alerts.alert import Kind, fault_id

    with harmless():
        over(fault_id(get_current_context()["ti"].dag_id, task_id, Kind.APPROVAL))


def report_rollback(rollback: Rollback, *, by: str) -> None:
    """Report that search answers with an earlier model again, until another goes live.

    :param by: who approved it.
    """
    from include.alerts.alert import Kind

    with harmless():
        context = get_current_context()
        ti = context["ti"]
        left, live = rollback.current.model_version, rollback.target.model_version
        announcer().met(
            _alert(
                Kind.ROLLBACK,
                ti.dag_id,
                ti.run_id,
                context,
                task_id=ti.task_id,
                cause=f"{left} → {live}",
                headline=f"Search went back to {live}, as approved by {by}",
                detail=f"{left} does not go live again by itself.",
                next_step=(
                    f"Trigger reindex_episodes to bring {live} up to the latest snapshot, or rollback_index to go "
                    f"forward to {left} again."
                ),
                links=[_link("Task", ti.dag_id, ti.run_id, ti.task_id)],
            )
        )


def report_live(model_version: str) -> None:
    """Report what went live: a rollback is over once it is another model than was gone back to."""
    from include.alerts.alert import Kind

    def ended(fault: Fault) -> bool:
        return fault.alert.kind is Kind.ROLLBACK and not fault.alert.cause.endswith(f" → {model_version}")

    with harmless():
        announcer().over(ended, datetime.now(UTC))


def report_freshness(age: timedelta, limit: timedelta | None) -> None:
    """Report a published snapshot that is older than it may be, or that it is not any more.

    :param limit: None if it may be of any age.
    """
    from include.alerts.alert import Kind
    from include.alerts.facts import freshness_facts

    _report(Kind.FRESHNESS, freshness_facts(age, limit) if limit is not None and age > limit else None)


def report_lag(lag: Lag | None, limit: timedelta) -> None:
    """Report that search has not got the published snapshot for too long, or that it has it now."""
    from include.alerts.alert import Kind
    from include.alerts.facts import lag_facts

    now = datetime.now(UTC)
    _report(Kind.LAG, lag_facts(lag, now) if lag and now - lag.since > limit else None)


def report_search(checked: Checked | None, live: LivePointer | None) -> None:
    """Report that search does not find what it is known to find, or that it does."""
    from include.alerts.alert import Kind
    from include.alerts.facts import search_facts

    _report(Kind.SEARCH, search_facts(checked, live) if live and checked and checked.lost else None)


def report_listening(falls: Sequence[Fall]) -> None:
    """Report that listeners find less than they used to, or that they do not any more."""
    from include.alerts.alert import Kind
    from include.alerts.facts import listening_facts

    _report(Kind.LISTENING, listening_facts(falls) if falls else None)


def _report(kind: Kind, facts: dict[str, Any] | None) -> None:
    """Report what a task that watches has met, or that nothing is the matter (any more)."""
    from include.alerts.alert import fault_id

    with harmless():
        context = get_current_context()
        ti = context["ti"]
        if facts is None:
            over(fault_id(ti.dag_id, ti.task_id, kind))
            return
        links = [_link("Task", ti.dag_id, ti.run_id, ti.task_id)]
        announcer().met(_alert(kind, ti.dag_id, ti.run_id, context, task_id=ti.task_id, links=links, **facts))


def over(fault: str) -> None:
    """Announce the end of a fault that this task looks for, if it is open, and no newer run has met it."""
    run_after = _run_after(get_current_context())

    def ended(item: Fault) -> bool:
        return item.fault_id == fault and item.may_be_ended_by(run_after)

    announcer().over(ended, datetime.now(UTC))


def announcer() -> Announcer:
    """What tells people, as the settings say."""
    from include.alerts.announce import Announcer
    from include.alerts.book import FaultBook
    from operators.channels import Channels

    settings = get_settings()
    routes = {"critical": settings.alerts.critical, "warning": settings.alerts.warning}
    return Announcer(
        FaultBook(_store()),
        Channels(routes, recipients=settings.alerts.emails).of,
    )


@contextmanager
def harmless() -> Iterator[None]:
    """Log what goes wrong, and go on."""
    try:
        yield
    except Exception:
        log.exception("An alert could not be made.")


def _run_after(context: Mapping[str, Any]) -> datetime | None:
    """Airflow's time of the run that a context is of."""
    run: Any = context.get("dag_run")
    found: datetime | None = run.get("run_after") if isinstance(run, dict) else getattr(run, "run_after", None)
    return found


def _alert(kind: Kind, dag_id: str, run_id: str, context: Mapping[str, Any], **facts: Any) -> Alert:
    from include.alerts.alert import Alert, Kind, Severity

    stops = kind in (Kind.FAILURE, Kind.DEADLINE, Kind.SEARCH)
    return Alert(
        dag_id=dag_id,
        run_id=run_id,
        run_after=_run_after(context),
        kind=kind,
        severity=Severity.CRITICAL if stops else Severity.WARNING,
        occurred_at=datetime.now(UTC),
        unaffected=_unaffected(),
        **facts,
    )


def _unaffected() -> dict[str, str]:
    from include.alerts.facts import still_live

    try:
        return still_live(_store())
    except Exception:
        log.exception("What is live could not be read.")
        return {"Live": "unknown: the artifact store cannot be read"}


def _result_of(task: Any) -> QualityResult | None:
    """What the validation that a task made has found; the tables of a run are validated by several tasks."""
    from include.quality.result import DamagedResultError, load_all

    try:
        results = load_all(_store(), task.run_name) if hasattr(task, "run_name") else []
    except DamagedResultError as error:
        log.warning("The alert says less than it could: %s", error)
        return None
    return next((result for result in results if result.suite == getattr(task, "suite", None)), None)


def _failed_tasks(context: Context) -> list[str]:
    """Names of the tasks of a run that have failed; none where Airflow cannot say."""
    ti = context.get("ti")
    if ti is None:  # no task of the run is left in the DAG as it is now
        return []
    tasks, run_id = context["dag"].task_dict, str(context["run_id"])
    states: dict[str, str] = {}
    with harmless():
        states = ti.get_task_states(dag_id=context["dag"].dag_id, run_ids=[run_id]).get(run_id, {})
    failed = [name for name, state in states.items() if state == "failed"]
    # A mapped task has its index behind its name.
    return list(dict.fromkeys(name if name in tasks else name.rpartition("_")[0] for name in failed))


def _first_line(error: BaseException) -> str:
    lines = str(redact(str(error))).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _link(label: str, dag_id: str, run_id: str, task_id: str | None = None, map_index: int | None = None) -> Link:
    from include.alerts.alert import Link
    from include.alerts.facts import run_url

    return Link(label=label, url=run_url(_base_url(), dag_id, run_id, task_id, -1 if map_index is None else map_index))


def _base_url() -> str:
    return str(conf.get("api", "base_url", fallback="http://localhost:8080"))


def _store() -> ArtifactStore:
    return ArtifactStore(get_settings().installation.artifacts_root)
