"""Airflow callbacks that report failures, missed deadlines and open questions, and when they are over."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import redact
from airflow.sdk import BaseNotifier
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from include.errors import PermanentError
from operators.telling import announcer, base_url, harmless, link_to, run_after, store, tell, tell_of_task

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.alerts.book import Fault
    from include.quality.result import QualityResult

log = logging.getLogger(__name__)


class AlertNotifier(BaseNotifier):
    """Reports the event of an Airflow callback; one subclass per kind of event."""

    def notify(self, context: Context) -> None:
        with harmless():
            self.report(context)

    async def async_notify(self, context: Context) -> None:
        # Sending waits for other machines, and the triggerer's event loop must not.
        await asyncio.to_thread(self.notify, context)

    @abstractmethod
    def report(self, context: Context) -> None:
        """Report the event in the context."""


class TaskFailed(AlertNotifier):
    """For a task's ``on_failure_callback``: it failed, and will not be retried."""

    def report(self, context: Context) -> None:
        from include.alerts.alert import FaultKind
        from include.alerts.facts import failure_facts, lost_facts, quality_facts
        from include.quality.result import QualityError

        ti, error = context["ti"], context.get("exception")
        if not isinstance(error, BaseException):
            facts = lost_facts()
        elif isinstance(error, QualityError) and (result := _result_of(ti.task)):
            facts = quality_facts(result, "critical", base_url())
        else:
            tries = None if isinstance(error, PermanentError) else ti.try_number
            facts = failure_facts(type(error).__name__, str(redact(str(error))), tries=tries)
        tell_of_task(FaultKind.FAILURE, context, facts)


class RunFailed(AlertNotifier):
    """For a DAG's ``on_failure_callback``: reports the failed tasks that could not do so themselves.

    Airflow does not call a task's callbacks if its process was killed (apache/airflow#60858).
    """

    def report(self, context: Context) -> None:
        from include.alerts.alert import FaultKind, fault_id
        from include.alerts.book import FaultBook
        from include.alerts.facts import lost_facts, run_facts

        dag_id, run_id = context["dag"].dag_id, str(context["run_id"])
        book = FaultBook(store())
        failed = _failed_tasks(context)
        for task_id in failed:
            known = book.read(fault_id(dag_id, task_id, FaultKind.FAILURE))
            if known is None or known.alert.run_id != run_id:
                link = link_to("Task", dag_id, run_id, task_id)
                tell(FaultKind.FAILURE, context, dag_id, run_id, lost_facts(), link, task_id=task_id)
        if not failed:
            facts = run_facts(str(context.get("reason") or "failed"))
            tell(FaultKind.FAILURE, context, dag_id, run_id, facts, link_to("Run", dag_id, run_id))


class RunSucceeded(AlertNotifier):
    """For a DAG's ``on_success_callback``: faults of this run and of earlier ones are over.

    Faults of a newer run are not: this may be an old run, one of whose tasks was cleared.
    """

    def report(self, context: Context) -> None:
        from include.alerts.alert import FaultKind

        dag_id, run = context["dag"].dag_id, context.get("dag_run")
        ended_at = getattr(run, "end_date", None) or datetime.now(UTC)
        kinds, after = (FaultKind.FAILURE, FaultKind.DEADLINE), run_after(context)

        def ended(fault: Fault) -> bool:
            ours = fault.alert.dag_id == dag_id and fault.alert.kind in kinds
            return ours and fault.may_be_ended_by(after)

        announcer().resolve(ended, ended_at)


class ApprovalAwaited(AlertNotifier):
    """For the ``notifiers`` of an operator that asks a person: its question is open."""

    def report(self, context: Context) -> None:
        from include.alerts.alert import FaultKind
        from include.alerts.facts import approval_facts

        ti, question = context["ti"], str(getattr(context["task"], "subject", "Approve?"))
        link = link_to("Answer", ti.dag_id, ti.run_id, ti.task_id)
        link = link.model_copy(update={"url": f"{link.url}/required_actions"})
        tell(FaultKind.APPROVAL, context, ti.dag_id, ti.run_id, approval_facts(question), link, task_id=ti.task_id)


class DeadlineMissed(AlertNotifier):
    """For the callback of a :class:`~airflow.sdk.DeadlineAlert`: a run did not end in time."""

    def report(self, context: Context) -> None:
        from include.alerts.alert import FaultKind
        from include.alerts.facts import deadline_facts

        run: Any = context["dag_run"]  # a plain dictionary here
        dag_id, run_id = run["dag_id"], run["dag_run_id"]
        tell(FaultKind.DEADLINE, context, dag_id, run_id, deadline_facts(run["state"]), link_to("Run", dag_id, run_id))


def end_within(hours: float) -> DeadlineAlert:
    """A deadline for the runs of a DAG, counted from when the run was queued."""
    return DeadlineAlert(
        name=f"within {hours:g} hours",
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        # In seconds: Airflow 3.3 cannot read a timedelta back when somebody clears a task of a run whose deadline still
        # stands because the run failed or was marked, and refuses the clear (apache/airflow#70368).
        interval=timedelta(hours=hours).total_seconds(),  # type: ignore[arg-type]
        # In the triggerer and not on an executor: the run may be waiting for the executor's slots.
        callback=AsyncCallback(DeadlineMissed),
    )


def _result_of(task: Any) -> QualityResult | None:
    """The result of a task's own validation; a run's tables are validated by several tasks."""
    from include.quality.result import DamagedResultError, load_all

    try:
        results = load_all(store(), task.run_name) if hasattr(task, "run_name") else []
    except DamagedResultError as error:
        log.warning("The alert leaves out details: %s", error)
        return None
    return next((result for result in results if result.suite == getattr(task, "suite", None)), None)


def _failed_tasks(context: Context) -> list[str]:
    """Names of the tasks of a run that have failed; none if Airflow cannot say."""
    ti = context.get("ti")
    if ti is None:  # no task of the run is left in the DAG as it is now
        return []
    tasks, run_id = context["dag"].task_dict, str(context["run_id"])
    states: dict[str, str] = {}
    with harmless():
        states = ti.get_task_states(dag_id=context["dag"].dag_id, run_ids=[run_id]).get(run_id, {})
    failed = [name for name, state in states.items() if state == "failed"]
    # A mapped task's name ends in its index.
    return list(dict.fromkeys(name if name in tasks else name.rpartition("_")[0] for name in failed))
