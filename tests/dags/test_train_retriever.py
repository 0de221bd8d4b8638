from __future__ import annotations

from typing import cast

from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.assets import AssetOrTimeSchedule

from operators.names import EPISODES, RETRIEVER


def test_runs_monthly_and_when_episodes_arrive(train: DAG) -> None:
    timetable = cast("AssetOrTimeSchedule", DagSerialization.from_dict(DagSerialization.to_dict(train)).timetable)
    assert [asset.name for _, asset in timetable.asset_condition.iter_assets()] == [EPISODES.name]
    assert timetable.timetable.summary == "0 3 1 * *"


def test_a_model_is_registered_last_and_announced(train: DAG) -> None:
    assert {task.task_id: task.outlets for task in train.tasks if task.outlets} == {"register_model": [RETRIEVER]}
    assert train.task_dict["register_model"].get_flat_relative_ids(upstream=True) == {
        "plan_training",
        "generate_queries",
        "build_pairs",
        "validate_queries",
        "round_trip",
        "fine_tune",
    }


def test_a_person_can_ask_for_a_training(train: DAG) -> None:
    assert train.params.get_param("force").value is False
    assert train.params.get_param("force").schema["type"] == "boolean"


def test_nothing_is_trained_on_queries_that_were_not_validated(train: DAG) -> None:
    assert "validate_queries" in train.task_dict["fine_tune"].get_flat_relative_ids(upstream=True)
