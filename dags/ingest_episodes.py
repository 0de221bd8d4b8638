"""### Ingest episodes

Looks daily whether the source has a new version; if so, validates its files, cleans them into a snapshot, validates
that, and publishes it. What cannot be used goes to quarantine with the reason.

**Owner:** podsearch. **If it fails:** nothing was published and search goes on with the last good snapshot. Read
the log of the failed task: a failed validation names the expectations and the Data Docs; a bad file is named with
what is wrong in it. Mend the source or the threshold, then clear the failed task.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from operators.episodes import CheckSourceOperator, PrepareSnapshotOperator, PublishSnapshotOperator
from operators.names import DEFAULT_ARGS, Tag
from operators.quality import ValidateEpisodesOperator, ValidateRawOperator

with DAG(
    dag_id="ingest_episodes",
    description="New episodes: validate, clean, publish a snapshot",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("0 2 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=[Tag.PODSEARCH, Tag.INGESTION],
):
    version = "{{ ti.xcom_pull(task_ids='check_source') }}"
    snapshot_id = "{{ ti.xcom_pull(task_ids='prepare_snapshot') }}"

    check_source = CheckSourceOperator(task_id="check_source")
    validate_podcasts = ValidateRawOperator(task_id="validate_podcasts", file="podcasts", run_name=version)
    validate_raw_episodes = ValidateRawOperator(task_id="validate_raw_episodes", file="episodes", run_name=version)
    prepare_snapshot = PrepareSnapshotOperator(task_id="prepare_snapshot", source_version=version)
    validate_episodes = ValidateEpisodesOperator(task_id="validate_episodes", snapshot_id=snapshot_id, run_name=version)
    publish_snapshot = PublishSnapshotOperator(task_id="publish_snapshot", snapshot_id=snapshot_id)

    (
        check_source
        >> [validate_podcasts, validate_raw_episodes]
        >> prepare_snapshot
        >> validate_episodes
        >> publish_snapshot
    )
