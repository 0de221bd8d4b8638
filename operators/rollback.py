"""Tasks of ``rollback_index``: show what would go live again, ask, flip the live pointer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators.approval import ApproveOperator, responder
from operators.base import PodsearchOperator
from operators.names import LIVE_INDEX
from operators.reports import report_rollback

if TYPE_CHECKING:
    from airflow.sdk import Context


class PlanRollbackOperator(PodsearchOperator):
    """Finds out what would go live again, and whether it still exists. Returns it, and what is live."""

    def execute(self, context: Context) -> dict[str, Any]:
        from include.index.rollback import plan_rollback
        from operators.pinecone import open_index

        rollback = plan_rollback(self.store, lambda live: open_index(self.settings, live=live))
        self.log.info("From %s back to %s.", rollback.current.model_version, rollback.target.model_version)
        return rollback.model_dump(mode="json")


class ApproveRollbackOperator(ApproveOperator):
    """Shows both sides of a rollback, and asks.

    :param rollback: the result of the planning task.
    """

    template_fields: Sequence[str] = (*ApproveOperator.template_fields, "rollback")

    def __init__(self, *, rollback: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rollback = rollback

    def ask(self) -> tuple[str, str]:
        from include.index.rollback import Rollback, question

        rollback = Rollback.model_validate(self.rollback)
        return f"Go back to {rollback.target.model_version}?", question(rollback)


class RollBackOperator(PodsearchOperator):
    """Flips the live pointer back, announces it, and tells people. Returns the pointer.

    :param rollback: the result of the planning task.
    :param answer: the result of the approving task.
    """

    template_fields: Sequence[str] = ("rollback", "answer")

    def __init__(self, *, rollback: Any, answer: Any, **kwargs: Any) -> None:
        super().__init__(outlets=[LIVE_INDEX], **kwargs)
        self.rollback = rollback
        self.answer = answer

    def execute(self, context: Context) -> dict[str, Any]:
        from include.index.rollback import Rollback, roll_back
        from operators.pinecone import open_index

        rollback = Rollback.model_validate(self.rollback)
        by = responder(self.answer) or "somebody"
        pointer = roll_back(self.store, rollback, lambda live: open_index(self.settings, live=live), by=by)
        self.log.info("Live again, as approved by %s: %s.", by, pointer.namespace)
        report_rollback(rollback, by=by)
        announced = pointer.model_dump(mode="json", exclude={"previous"})
        self.announce(context, LIVE_INDEX, announced)
        return announced
