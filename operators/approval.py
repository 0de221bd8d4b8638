"""Tasks that ask a person: they wait in Airflow, without occupying a worker, for an answer in its pages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from operators.alerts import ApprovalAwaited
from operators.base import PodsearchOperator
from operators.reports import report_answered

if TYPE_CHECKING:
    from airflow.sdk import Context

ANSWER_WITHIN = timedelta(days=3)
"""An unanswered question is rejected after this long (longer than a weekend): the next run, with newer data, waits."""


class ApproveOperator(PodsearchOperator, ApprovalOperator):
    """Asks a person to approve, if there is anything to ask; later tasks are skipped unless the answer is yes.

    Returns the answer and who gave it; None if nothing was asked.
    """

    def __init__(self, **kwargs: Any) -> None:
        # What is asked is known only once the task runs.
        super().__init__(subject="Approve?", defaults=ApprovalOperator.REJECT, response_timeout=ANSWER_WITHIN, **kwargs)

    @abstractmethod
    def ask(self) -> tuple[str, str] | None:
        """The question in one line, and the details as Markdown; None to go on without asking."""

    def answered(self, *, by: str | None, approved: bool) -> None:
        """Act on an answer, whatever it is.

        :param by: who gave it; None if time ran out.
        """

    def execute(self, context: Context) -> Any:
        question = self.ask()
        if question is None:
            return None
        self.subject, self.body = question
        self.log.info("%s Asking a person, in Airflow's pages:\n%s", self.subject, self.body)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        by = responder(event)
        self.log.info("%s: %s.", " ".join(event.get("chosen_options", ["No answer"])), by or "time ran out")
        self.answered(by=by, approved=self.APPROVE in event.get("chosen_options", []))
        return super().execute_complete(context, event)


class ApproveDeletionsOperator(ApproveOperator):
    """Asks a person before a plan deletes more of the index than the settings allow; otherwise goes on at once.

    Nothing has been written by then: if the answer is no, the next run finds the same and asks again.

    :param plan_id: the plan (templated).
    :param live: what was live when the run started (templated): if that has changed since, nobody is asked.
    """

    template_fields: Sequence[str] = (*ApproveOperator.template_fields, "plan_id", "live")

    def __init__(self, *, plan_id: str, live: str, **kwargs: Any) -> None:
        super().__init__(notifiers=[ApprovalAwaited()], **kwargs)
        self.plan_id = plan_id
        self.live = live

    def ask(self) -> tuple[str, str] | None:
        from include.index.approval import body, keep_approval, loss_of, percent, subject
        from include.index.estimate import estimate
        from include.index.live import read_live, require_seen
        from include.index.plan import load_plan, require_not_overtaken

        plan, allowed, live = (
            load_plan(self.store, self.plan_id),
            self.settings.index.max_deleted_share,
            read_live(self.store),
        )
        with self.unless_overtaken():
            require_seen(live, self.live, own=(plan.namespace, plan.snapshot_id))
            require_not_overtaken(self.store, plan, seen=self.live)
        loss = loss_of(self.store, plan, live)
        if loss.share > allowed:
            return subject(loss), body(plan, estimate(self.store, plan), loss, allowed=allowed)
        self.log.info("Deletes %s: up to %s need no approval.", loss, percent(allowed))
        keep_approval(self.store, self.plan_id, None)
        report_answered(self.task_id)
        return None

    def answered(self, *, by: str | None, approved: bool) -> None:
        from include.index.approval import keep_approval

        keep_approval(self.store, self.plan_id, by if approved else None)
        if by:  # otherwise it is asked again, and the fault is the same
            report_answered(self.task_id)


def responder(answer: dict[str, Any] | None) -> str | None:
    """Who gave an answer; None if nobody did."""
    user = (answer or {}).get("responded_by_user")
    return str(user["name"]) if user else None
