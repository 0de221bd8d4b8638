"""Tasks of ``housekeeping``: remove what is no longer needed, or report what that is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.configuration import conf

from include.storage import ArtifactStore
from operators.base import PodsearchOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

DRY_RUN = "dry_run"
"""The param that makes a run only report what it would remove."""


class PruneArtifactsOperator(PodsearchOperator):
    """Removes old artifacts. Returns how many items and bytes of each kind.

    Skipped while another DAG is running, because what that run uses is not known here.

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
            self.skip_run(f"Nothing is removed while {' and '.join(busy)} is running. The next run will catch up.")
        housekeeping = self.settings.housekeeping
        days = Days(work=housekeeping.keep_work_days, reports=housekeeping.keep_report_days)
        summary = prune(self.store, days, dry_run=dry_run)
        summary.say()
        return summary.model_dump()


class ForgetSearchesOperator(PodsearchOperator):
    """Removes recorded searches that are older than listeners were told. Returns the days that were removed.

    A dry run leaves them alone and does not mention them.
    """

    def execute(self, context: Context) -> list[str]:
        from include.feedback.events import remove_old

        if context["params"][DRY_RUN]:
            return []
        return [str(day) for day in remove_old(self.store, self.settings.search.record_days, now=datetime.now(UTC))]


class PruneMachineOperator(PodsearchOperator):
    """Removes unfinished work and old logs from the machine that it runs on, and old logs from the object store that
    Airflow sends them to. Returns how many items and bytes.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from include.housekeeping.machine import prune_logs, prune_machine

        dry_run, days = context["params"][DRY_RUN], self.settings.housekeeping.keep_log_days
        folder = conf.get("logging", "base_log_folder", fallback="")
        summary = prune_machine(
            self.settings.installation.work_root,
            Path(folder) if folder else None,
            work_days=self.settings.housekeeping.keep_work_days,
            log_days=days,
            dry_run=dry_run,
        )
        remote = conf.get("logging", "remote_base_log_folder", fallback="")
        if conf.getboolean("logging", "remote_logging", fallback=False) and remote.startswith("s3://"):
            prune_logs(ArtifactStore(remote), summary, days=days)
        summary.say()
        return summary.model_dump()
