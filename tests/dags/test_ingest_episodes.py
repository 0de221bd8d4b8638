from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from operators.names import EPISODES


def test_nothing_is_published_before_every_check_has_passed(ingest: DAG) -> None:
    before = ingest.task_dict["publish_snapshot"].get_flat_relative_ids(upstream=True)
    assert before == {
        "check_source",
        "fetch_dataset",
        "validate_podcasts",
        "validate_raw_episodes",
        "prepare_snapshot",
        "validate_episodes",
        "validate_drift",
    }


def test_raw_files_are_checked_before_they_are_prepared(ingest: DAG) -> None:
    before = ingest.task_dict["prepare_snapshot"].get_flat_relative_ids(upstream=True)
    assert before == {"check_source", "fetch_dataset", "validate_podcasts", "validate_raw_episodes"}


def test_publishing_announces_new_episodes_and_nothing_else_does(ingest: DAG) -> None:
    outlets = {task.task_id: task.outlets for task in ingest.tasks if task.outlets}
    assert outlets == {"publish_snapshot": [EPISODES], "go_back": [EPISODES]}


def test_what_asks_other_peoples_servers_waits_out_an_outage(ingest: DAG) -> None:
    for task_id in ("check_source", "fetch_dataset"):
        task: Any = ingest.task_dict[task_id]
        delays = [task.retry_delay * task.retry_exponential_backoff**number for number in range(task.retries)]
        waited = sum((min(delay, task.max_retry_delay) for delay in delays), timedelta())
        assert waited >= timedelta(hours=1)
    assert ingest.task_dict["fetch_dataset"].execution_timeout is not None, "a trickle does not hold up the next day"


def test_no_check_can_be_skipped_over(ingest: DAG) -> None:
    assert {task.trigger_rule for task in ingest.tasks} == {"all_success"}
