from __future__ import annotations

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, Asset, AssetAny

from include.index.estimate import ENCODING, WRITING
from operators.names import EPISODES, LIVE_INDEX, RETRIEVER
from operators.pools import Pool


def test_runs_when_episodes_or_a_model_arrive(reindex: DAG) -> None:
    condition = reindex.timetable.asset_condition
    assert isinstance(condition, AssetAny), "one of them is enough"
    assert {asset.name for asset in condition.objects if isinstance(asset, Asset)} == {EPISODES.name, RETRIEVER.name}


def test_nothing_goes_live_before_it_was_verified_and_reported(reindex: DAG) -> None:
    before = reindex.task_dict["activate"].get_flat_relative_ids(upstream=True)
    assert {"gate", "upsert_shard", "delete_withdrawn", "finish_index", "verify_index", "publish_report"} <= before


def test_nothing_is_encoded_or_written_before_large_deletions_were_approved(reindex: DAG) -> None:
    after = reindex.task_dict["approve_deletions"].get_flat_relative_ids(upstream=False)
    assert {"prepare_namespace", ENCODING, WRITING, "delete_withdrawn", "activate", "retire"} <= after
    assert reindex.task_dict["approve_deletions"].get_direct_relative_ids(upstream=True) == {"plan_reindex"}
    assert reindex.task_dict["approve_deletions"].get_direct_relative_ids(upstream=False) == {"prepare_namespace"}


def test_a_person_who_goes_back_is_not_crossed_by_a_run(reindex: DAG, dag_bag: DagBag) -> None:
    flips = [reindex.task_dict["activate"], dag_bag.dags["rollback_index"].task_dict["roll_back"]]
    assert {task.pool for task in flips} == {Pool.INDEX}, "what retires namespaces has its slot, too"


def test_going_live_is_announced_and_nothing_else_is(reindex: DAG) -> None:
    assert {task.task_id: task.outlets for task in reindex.tasks if task.outlets} == {"activate": [LIVE_INDEX]}


def test_what_was_live_is_dropped_only_once_something_else_is(reindex: DAG) -> None:
    assert reindex.task_dict["retire"].get_direct_relative_ids(upstream=True) == {"activate"}


def test_no_failure_is_passed_over(reindex: DAG) -> None:
    assert {task.trigger_rule for task in reindex.tasks} == {"all_success"}
