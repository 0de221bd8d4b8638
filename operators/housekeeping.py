"""Tasks of ``housekeeping``: remove what nobody needs any more, or say what that is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.configuration import conf

from operators.base import PodsearchOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

DRY_RUN = "dry_run"
"""The param by which a run only says what it would remove."""


class PruneArtifactsOperator(PodsearchOperator):
    """Removes old artifacts. Returns how many items and bytes of each kind.

    Skipped while a run of another DAG is going, for what it uses is not known here.

    :param unless_running: the DAGs that use more of the artifact store than what is live.
    """

    def __init__(self, *, unless_running: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unless_running = unless_running

    def execute(self, context: Context) -> dict[str, Any]:
        from include.housekeeping.artifacts import Days, prune

        dry_run = context["params"][DRY_RUN]
        busy = [name for name in self.unless_running if context["ti"].get_dr_count(dag_id=name, states=["running"])]
        if busy and not dry_run:
            self.skip_run(f"Nothing is removed, because {' and '.join(busy)} is running. The next run will.")
        housekeeping = self.settings.housekeeping
        days = Days(
            snapshots=housekeeping.keep_snapshot_days,
            work=housekeeping.keep_work_days,
            reports=housekeeping.keep_report_days,
        )
        summary = prune(self.store, days, dry_run=dry_run)
        summary.say()
        return summary.model_dump()


class PruneMachineOperator(PodsearchOperator):
    """Removes unfinished work and old logs from the machine that it runs on. Returns how many items and bytes."""

    def execute(self, context: Context) -> dict[str, Any]:
        from include.housekeeping.machine import prune_machine

        folder = conf.get("logging", "base_log_folder", fallback="")
        summary = prune_machine(
            self.settings.installation.work_root,
            Path(folder) if folder else None,
            work_days=self.settings.housekeeping.keep_work_days,
            log_days=self.settings.housekeeping.keep_log_days,
            dry_run=context["params"][DRY_RUN],
        )
        summary.say()
        return summary.model_dump()
