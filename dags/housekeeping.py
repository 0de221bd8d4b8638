"""### Housekeeping

Runs daily and removes what is no longer needed: snapshots, downloads, evaluations, plans, reports and Data Docs that
are older than `PODSEARCH_KEEP_…_DAYS`; what retired models left behind; embeddings of texts that are gone; feeds taken
off the list; recorded searches that are older than listeners were told; and unfinished work and logs on its machine. It
never removes what is live or was live before, what an index may hold, or what drift and the trend are computed from.
Triggered with "Dry run", it only reports what it would remove: each task's log and XCom have the counts and bytes.

**Owner:** podsearch. **If it fails:** nothing else is affected, and the next run catches up. While another DAG is
running, nothing is removed from the artifact store: the task is skipped and says so.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from operators.alerts import RunFailed, RunSucceeded
from operators.housekeeping import DRY_RUN, ForgetSearchesOperator, PruneArtifactsOperator, PruneMachineOperator
from operators.names import DEFAULT_ARGS, Tag
from operators.pools import Pool

with DAG(
    dag_id="housekeeping",
    description="Remove what is no longer needed",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("15 12 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=DEFAULT_ARGS,
    on_failure_callback=RunFailed(),
    on_success_callback=RunSucceeded(),
    params={
        DRY_RUN: Param(False, type="boolean", title="Dry run", description="Only report what would be removed."),
    },
    tags=[Tag.PODSEARCH, Tag.OPERATIONS],
):
    # In the index pool, so that nothing goes live or is retired meanwhile.
    PruneArtifactsOperator(
        task_id="prune_artifacts",
        unless_running=["ingest_episodes", "train_retriever", "reindex_episodes", "rollback_index"],
        pool=Pool.INDEX,
    )
    ForgetSearchesOperator(task_id="forget_searches")
    PruneMachineOperator(task_id="prune_machine")
