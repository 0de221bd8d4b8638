"""### Ingest episodes

Checks daily whether the source has a new version. If so, it fetches and validates the files, cleans them into a
snapshot, validates that, and publishes it. Rows that cannot be used go to quarantine with the reason.

**Owner:** podsearch. **If it fails:** nothing was published, and search continues with the last good snapshot. Read the
failed task's log: a failed validation names the expectations and the Data Docs; a bad file is named with what is wrong
with it. Fix the source or the threshold, then clear the failed task. If the catalogue differs from earlier ones and is
meant to, trigger the DAG with "Accept drift". A run that a newer run has overtaken publishes nothing, whichever of its
tasks you clear; to go back to an earlier snapshot, trigger the DAG with "Go back to".
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from operators.alerts import RunFailed, RunSucceeded
from operators.episodes import (
    GO_BACK,
    CheckSourceOperator,
    FetchDatasetOperator,
    GoBackOperator,
    PrepareSnapshotOperator,
    PublishSnapshotOperator,
)
from operators.names import DEFAULT_ARGS, INGEST_DEADLINE, PATIENT, Tag
from operators.quality import ValidateDriftOperator, ValidateEpisodesOperator, ValidateRawOperator

with DAG(
    dag_id="ingest_episodes",
    description="New episodes: validate, clean, publish a snapshot",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("0 2 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=RunFailed(),
    on_success_callback=RunSucceeded(),
    deadline=INGEST_DEADLINE,
    params={
        "accept_drift": Param(
            False,
            type="boolean",
            title="Accept drift",
            description="Do not compare this catalogue with earlier ones: it has changed on purpose. "
            "Later ones are compared with it.",
        ),
        "go_back_to": Param(
            None,
            type=["null", "string"],
            pattern="^[0-9a-f]{12}$",
            title="Go back to",
            description="Id of an earlier snapshot to publish again, instead of checking for a new one.",
        ),
    },
    tags=[Tag.PODSEARCH, Tag.INGESTION],
):
    version = "{{ ti.xcom_pull(task_ids='check_source') }}"
    run = "{{ dag_run.run_after | ts_nodash }}." + version
    folder = "{{ ti.xcom_pull(task_ids='fetch_dataset') }}"
    snapshot_id = "{{ ti.xcom_pull(task_ids='prepare_snapshot') }}"

    latest = "{{ ti.xcom_pull(task_ids='check_source', key='latest') }}"
    go_back_to = "{{ params.go_back_to or '' }}"

    check_source = CheckSourceOperator(task_id="check_source", go_back_to=go_back_to, **PATIENT)
    fetch_dataset = FetchDatasetOperator(
        task_id="fetch_dataset", source_version=version, execution_timeout=timedelta(hours=6), **PATIENT
    )
    validate_podcasts = ValidateRawOperator(task_id="validate_podcasts", folder=folder, file="podcasts", run_name=run)
    validate_raw_episodes = ValidateRawOperator(
        task_id="validate_raw_episodes", folder=folder, file="episodes", run_name=run
    )
    prepare_snapshot = PrepareSnapshotOperator(task_id="prepare_snapshot", folder=folder, source_version=version)
    validate_episodes = ValidateEpisodesOperator(task_id="validate_episodes", snapshot_id=snapshot_id, run_name=run)
    validate_drift = ValidateDriftOperator(task_id="validate_drift", snapshot_id=snapshot_id, run_name=run)
    publish_snapshot = PublishSnapshotOperator(
        task_id="publish_snapshot", snapshot_id=snapshot_id, source_version=version, latest=latest, run_name=run
    )
    go_back = GoBackOperator(
        task_id=GO_BACK, snapshot_id=go_back_to, latest=latest, run_name="{{ dag_run.run_after | ts_nodash }}"
    )

    (
        check_source
        >> fetch_dataset
        >> [validate_podcasts, validate_raw_episodes]
        >> prepare_snapshot
        >> [validate_episodes, validate_drift]
        >> publish_snapshot
    )
    check_source >> go_back
