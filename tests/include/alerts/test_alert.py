from __future__ import annotations

from include.alerts.alert import MAX_CHARS, MAX_DETAIL_CHARS, MAX_SAMPLES, FaultKind, Finding, fault_id
from tests.include.alerts.faults import alert


def test_the_same_fault_in_another_run_is_the_same() -> None:
    first, second = alert(1), alert(2, days=1, headline="2 were missed", cause="ids, titles")
    assert first.fault_id == second.fault_id == fault_id("ingest_episodes", "validate_raw_episodes", FaultKind.FAILURE)


def test_faults_of_other_places_and_kinds_are_told_apart() -> None:
    alerts = [
        alert(),
        alert(task_id="validate_podcasts"),
        alert(task_id=None),
        alert(dag_id="train_retriever"),
        alert(kind=FaultKind.QUALITY),
    ]
    assert len({item.fault_id for item in alerts}) == len(alerts)


def test_an_alert_is_small_however_much_there_is_to_say() -> None:
    long = "x" * 100_000
    finding = Finding(what=long, expectation=long, observed=long, expected=long, samples=[long] * 50)
    item = alert(headline=long, detail=long, cause=long, findings=[finding])
    assert len(item.headline) == len(item.cause) == len(item.findings[0].observed) == MAX_CHARS
    assert len(item.detail) == MAX_DETAIL_CHARS
    assert [len(sample) for sample in item.findings[0].samples] == [MAX_CHARS] * MAX_SAMPLES


def test_the_place_is_a_task_or_a_whole_dag() -> None:
    assert alert().place == "ingest_episodes · validate_raw_episodes"
    assert alert(task_id=None).place == "ingest_episodes"
