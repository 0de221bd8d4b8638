from __future__ import annotations

from airflow.sdk import DAG, Asset, AssetAny

from operators.names import EPISODES, LIVE_INDEX, RETRIEVER


def test_runs_when_episodes_or_a_model_arrive(reindex: DAG) -> None:
    condition = reindex.timetable.asset_condition
    assert isinstance(condition, AssetAny), "one of them is enough"
    assert {asset.name for asset in condition.objects if isinstance(asset, Asset)} == {EPISODES.name, RETRIEVER.name}


def test_nothing_goes_live_before_it_was_verified_and_reported(reindex: DAG) -> None:
    before = reindex.task_dict["activate"].get_flat_relative_ids(upstream=True)
    assert {"gate", "upsert_shard", "delete_withdrawn", "verify_index", "publish_report"} <= before


def test_going_live_is_announced_and_nothing_else_is(reindex: DAG) -> None:
    assert {task.task_id: task.outlets for task in reindex.tasks if task.outlets} == {"activate": [LIVE_INDEX]}


def test_what_was_live_is_dropped_only_once_something_else_is(reindex: DAG) -> None:
    assert reindex.task_dict["retire"].get_direct_relative_ids(upstream=True) == {"activate"}


def test_no_failure_is_passed_over(reindex: DAG) -> None:
    assert {task.trigger_rule for task in reindex.tasks} == {"all_success"}
