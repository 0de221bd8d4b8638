from __future__ import annotations

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import CronTriggerTimetable


def test_watches_hourly_from_the_start(dag_bag: DagBag) -> None:
    dag = dag_bag.dags["watch_search"]
    assert isinstance(dag.timetable, CronTriggerTimetable)
    assert dag.timetable.expression.split()[1:] == ["*", "*", "*", "*"]
    assert dag.is_paused_upon_creation is False, "nobody has to remember to switch it on"


def test_alerts_are_tried_again_after_the_check_that_may_add_one(dag_bag: DagBag) -> None:
    task = dag_bag.dags["watch_search"].task_dict["retry_alerts"]
    assert task.upstream_task_ids == {"check_freshness"}


def test_one_that_cannot_look_keeps_no_other_from_looking(dag_bag: DagBag) -> None:
    tasks = dag_bag.dags["watch_search"].task_dict
    assert set(tasks) == {"check_freshness", "check_lag", "check_search", "check_listening", "retry_alerts"}
    for name in ("check_freshness", "check_lag", "check_search", "check_listening"):
        assert tasks[name].upstream_task_ids == set()
