"""### Housekeeping

Removes daily what nobody needs any more: snapshots that one no longer goes back to, downloads, evaluations, plans,
reports and Data Docs that are older than `PODSEARCH_KEEP_…_DAYS`, what retired models left behind; what was recorded of
searches for longer than listeners are told; and unfinished work and logs on its machine. Never what is live or was
before, what an index may hold, or what drift and the trend are drawn from. Triggered with "Dry run", it only says what
it would remove; the log of each task, and its XCom, have the counts and bytes.

**Owner:** podsearch. **If it fails:** nothing else is affected; it goes on with the next run. While another DAG is
running, nothing is removed from the artifact store: the task is skipped, and says so.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from operators.alerts import RunFailed, RunSucceeded
from operators.housekeeping import DRY_RUN, ForgetSearchesOperator, PruneArtifactsOperator, PruneMachineOperator
from operators.names import DEFAULT_ARGS, Pool, Tag

with DAG(
    dag_id="housekeeping",
    description="Remove what nobody needs any more",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("15 12 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=DEFAULT_ARGS,
    on_failure_callback=RunFailed(),
    on_success_callback=RunSucceeded(),
    params={
        DRY_RUN: Param(False, type="boolean", title="Dry run", description="Only say what would be removed."),
    },
    tags=[Tag.PODSEARCH, Tag.OPERATIONS],
):
    # In the pool of the index, so that nothing goes live or is retired meanwhile.
    PruneArtifactsOperator(
        task_id="prune_artifacts",
        unless_running=["ingest_episodes", "train_retriever", "reindex_episodes", "rollback_index"],
        pool=Pool.INDEX,
    )
    ForgetSearchesOperator(task_id="forget_searches")
    PruneMachineOperator(task_id="prune_machine")
