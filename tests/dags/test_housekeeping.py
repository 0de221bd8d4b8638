from __future__ import annotations

from airflow.dag_processing.dagbag import DagBag

from operators.housekeeping import PruneArtifactsOperator
from operators.pools import Pool


def test_nothing_is_removed_while_a_dag_is_running_that_may_use_it(dag_bag: DagBag) -> None:
    """All but those that read no more than what is live."""
    task = dag_bag.dags["housekeeping"].task_dict["prune_artifacts"]
    assert isinstance(task, PruneArtifactsOperator)
    assert set(task.unless_running) == set(dag_bag.dags) - {"housekeeping", "watch_search"}


def test_nothing_goes_live_or_is_retired_meanwhile(dag_bag: DagBag) -> None:
    assert dag_bag.dags["housekeeping"].task_dict["prune_artifacts"].pool == Pool.INDEX


def test_nobody_has_to_remember_to_switch_it_on(dag_bag: DagBag) -> None:
    assert dag_bag.dags["housekeeping"].is_paused_upon_creation is False


def test_one_that_cannot_remove_keeps_no_other_from_removing(dag_bag: DagBag) -> None:
    assert all(task.upstream_task_ids == set() for task in dag_bag.dags["housekeeping"].tasks)
