from __future__ import annotations

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from operators.names import LIVE_INDEX


@pytest.fixture(scope="session")
def rollback(dag_bag: DagBag) -> DAG:
    return dag_bag.dags["rollback_index"]


def test_it_runs_by_hand_only_and_is_ready_when_it_is_needed(rollback: DAG) -> None:
    assert rollback.schedule is None
    assert rollback.is_paused_upon_creation is False, "a paused one would not start when it is triggered"


def test_nothing_goes_live_without_an_answer_to_what_was_shown(rollback: DAG) -> None:
    assert rollback.task_dict["roll_back"].get_flat_relative_ids(upstream=True) == {"plan_rollback", "approve_rollback"}
    assert {task.trigger_rule for task in rollback.tasks} == {"all_success"}


def test_going_back_is_announced_as_going_live_is(rollback: DAG) -> None:
    assert {task.task_id: task.outlets for task in rollback.tasks if task.outlets} == {"roll_back": [LIVE_INDEX]}
