"""No failure of any DAG goes untold."""

from __future__ import annotations

from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from include.settings import get_settings
from operators.alerts import DeadlineMissed, RunFailed, RunSucceeded, TaskFailed
from tests.dags.test_policy import tasks_of


def test_every_task_tells_of_its_failure(dag_bag: DagBag) -> None:
    for key, task in tasks_of(dag_bag):
        callbacks = task.on_failure_callback
        assert [type(callback) for callback in callbacks] == [TaskFailed], key
        assert not task.on_retry_callback, f"{key}: what is tried again has not failed yet"


def test_every_run_tells_of_lost_tasks_and_of_the_end_of_a_fault(dag_bag: DagBag) -> None:
    for dag in dag_bag.dags.values():
        assert isinstance(dag.on_failure_callback, RunFailed), dag.dag_id
        assert isinstance(dag.on_success_callback, RunSucceeded), dag.dag_id


def test_ingestion_has_a_deadline(ingest: DAG) -> None:
    deadlines: Any = ingest.deadline
    (deadline,) = deadlines
    assert deadline.interval == 3600 * get_settings().alerts.ingest_deadline_hours
    assert deadline.callback.path == f"{DeadlineMissed.__module__}.{DeadlineMissed.__qualname__}"
