from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.definitions.deadline import DeadlineReference
from airflow.sdk.execution_time.context import set_current_context

from include.alerts.alert import FaultKind, Severity
from include.alerts.book import Fault, FaultBook
from include.errors import PermanentError
from include.evaluation.gate import Decision
from include.index.live import LivePointer
from include.index.rollback import Rollback
from include.quality.result import FOLDER, ExpectationResult, QualityError, QualityResult
from include.settings import get_settings
from operators.alerts import (
    ApprovalAwaited,
    DeadlineMissed,
    RunFailed,
    RunSucceeded,
    TaskFailed,
    end_within,
)
from operators.base import PodsearchOperator
from operators.reports import (
    report_answered,
    report_freshness,
    report_gate,
    report_live,
    report_quality,
    report_rollback,
)
from tests.operators.conftest import Installation
from tests.standins.webhook import WebhookStandIn

RUN = "scheduled__2026-03-01T02:00:00+00:00"
SECRET = "S3cretValue42"


@pytest.fixture
def webhook(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebhookStandIn]:
    """An installation whose alerts go to a webhook."""
    with WebhookStandIn().serve() as standin:
        monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps(standin.connection()))
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example")
        for severity in ("CRITICAL", "WARNING"):
            monkeypatch.setenv(f"PODSEARCH_ALERTS_{severity}", "hook")
        get_settings.cache_clear()
        yield standin


def faults(installation: Installation) -> list[Fault]:
    return FaultBook(installation.store).all()


def only_fault(installation: Installation) -> Fault:
    (fault,) = faults(installation)
    return fault


def task_context(error: BaseException | str | None, *, run_id: str = RUN, **task: Any) -> Any:
    """As much of a task's context as a callback looks at."""
    ti = SimpleNamespace(
        dag_id="ingest_episodes",
        task_id="validate_raw_episodes",
        run_id=run_id,
        map_index=-1,
        try_number=3,
        task=SimpleNamespace(**task),
    )
    return {"ti": ti, "exception": error} if error is not None else {"ti": ti}


def run_context(states: dict[str, str], run_id: str = RUN, **values: Any) -> Any:
    """The same of a DAG's callback; ``states`` are those of its tasks."""
    with DAG("ingest_episodes") as dag:
        for task_id in ("check_source", "encode_2", "encode"):
            PodsearchOperator(task_id=task_id)
    ti = SimpleNamespace(get_task_states=lambda dag_id, run_ids: {run_ids[0]: states})
    return {"dag": dag, "run_id": run_id, "ti": ti, "reason": "task_failure", **values}


def outcome(severity: Any = "critical", **values: Any) -> ExpectationResult:
    plain = {
        "what": "Ids are unique",
        "expectation": "expect_column_values_to_be_unique",
        "column": "uuid",
        "severity": severity,
        "success": False,
        "expected": "all values",
        "observed": "2 of 9 values fail",
        "samples": ["<b>e1</b>", "e2"],
    }
    return ExpectationResult(**(plain | values))


def result(*outcomes: ExpectationResult, suite: str = "raw_episodes") -> QualityResult:
    return QualityResult(
        suite=suite,
        run_name="version",
        validated_at=datetime.now(UTC),
        rows=9,
        seconds=0.1,
        outcomes=list(outcomes),
        json_path=f"quality/version/{suite}.json",
        docs_path=f"quality/version/data_docs/{suite}.html",
    )


def keep(installation: Installation, found: QualityResult) -> None:
    installation.store.write_json(found.model_dump(mode="json"), FOLDER, "version", f"{found.suite}.json")


def running(context: Any) -> AbstractContextManager[Any]:
    """Be in a task."""
    return set_current_context(context)


def test_a_failed_validation_is_told_with_all_its_facts(installation: Installation, webhook: WebhookStandIn) -> None:
    keep(installation, result(outcome(), outcome("warning", what="Titles are there")))
    keep(installation, result(outcome(what="Of another table"), suite="raw_podcasts"))
    TaskFailed().notify(task_context(QualityError("failed"), run_name="version", suite="raw_episodes"))
    (call,) = webhook.calls
    text = call.body["message"]
    assert call.body["title"].endswith(
        "ingest_episodes · validate_raw_episodes: 1 critical expectation of the suite raw_episodes failed on 9 rows"
    )
    assert "Ids are unique: observed 2 of 9 values fail; expected all values" in text
    assert "Published snapshot: none yet" in text
    assert f"http://airflow.example/dags/ingest_episodes/runs/{RUN.replace(':', '%3A').replace('+', '%2B')}" in text
    assert "http://airflow.example/podsearch/quality/version/data_docs/index.html" in text
    assert "Of another table" not in text
    assert only_fault(installation).alert.severity is Severity.CRITICAL


@pytest.mark.parametrize(
    ("error", "cause", "headline", "next_step"),
    [
        (PermanentError("Set PODSEARCH_X."), "PermanentError", "Set PODSEARCH_X.", "Fix the cause"),
        (ConnectionError("no route\nto host"), "ConnectionError", "no route", "It was tried 3 times."),
        (ValueError(), "ValueError", "ValueError", "It was tried 3 times."),
        (None, "lost", "The task was lost", "killed"),
    ],
)
def test_any_failure_says_what_happened_and_what_to_do(
    installation: Installation, error: BaseException | None, cause: str, headline: str, next_step: str
) -> None:
    TaskFailed().notify(task_context(error))
    alert = only_fault(installation).alert
    assert (alert.cause, alert.headline) == (cause, headline)
    assert next_step in alert.next_step


def test_successive_runs_are_one_fault_and_success_ends_it(installation: Installation, webhook: WebhookStandIn) -> None:
    for number in range(3):
        TaskFailed().notify(task_context(ConnectionError("no route"), run_id=f"run {number}"))
    assert only_fault(installation).runs == 3
    RunSucceeded().notify(run_context({}, run_id="run 3"))
    assert [call.body["type"] for call in webhook.calls] == ["failure", "success"]
    assert "Recovered after 3 runs" in webhook.calls[-1].body["message"]
    assert faults(installation) == []


def test_a_run_that_ended_before_the_failure_does_not_end_it(installation: Installation) -> None:
    TaskFailed().notify(task_context(ConnectionError()))
    ended = SimpleNamespace(end_date=datetime.now(UTC) - timedelta(minutes=1))
    RunSucceeded().notify(run_context({}, dag_run=ended))
    assert faults(installation)


def of_run(day: int) -> dict[str, Any]:
    """What Airflow says of a run of some day, whenever its tasks are run."""
    return {"dag_run": SimpleNamespace(run_after=datetime(2026, 3, day, 2, tzinfo=UTC))}


def test_an_older_run_that_ends_well_late_does_not_end_what_a_newer_one_met(installation: Installation) -> None:
    """A failed task of Monday's run is cleared on Wednesday, when Tuesday's has failed as well."""
    monday, tuesday, wednesday = (of_run(day) for day in (2, 3, 4))
    TaskFailed().notify(task_context(ConnectionError(), run_id="monday") | monday)
    TaskFailed().notify(task_context(ConnectionError(), run_id="tuesday") | tuesday)
    RunSucceeded().notify(run_context({}, run_id="monday") | monday)
    assert only_fault(installation).alert.run_id == "tuesday"
    TaskFailed().notify(task_context(ConnectionError(), run_id="monday") | monday)
    RunSucceeded().notify(run_context({}, run_id="monday") | monday)
    assert faults(installation), "it fails in the newer run still"
    RunSucceeded().notify(run_context({}, run_id="wednesday") | wednesday)
    assert faults(installation) == []


def test_a_cleared_validation_of_an_older_run_does_not_end_the_warnings_of_a_newer_one(
    installation: Installation,
) -> None:
    with running(task_context(None, run_id="tuesday") | of_run(3)):
        report_quality(result(outcome("warning")))
    with running(task_context(None, run_id="monday") | of_run(2)):
        report_quality(result(outcome(success=True)))
    assert only_fault(installation).alert.run_id == "tuesday"
    with running(task_context(None, run_id="tuesday") | of_run(3)):
        report_quality(result(outcome(success=True)))
    assert faults(installation) == []


def test_success_ends_nothing_of_other_dags_nor_warnings(installation: Installation) -> None:
    with running(task_context(None)):
        report_quality(result(outcome("warning")))
    TaskFailed().notify(task_context(ConnectionError()))
    RunSucceeded().notify(run_context({}) | {"dag": DAG("another")})
    assert len(faults(installation)) == 2
    RunSucceeded().notify(run_context({}))
    assert only_fault(installation).alert.kind is FaultKind.QUALITY


def test_a_task_that_was_killed_is_reported_by_its_run(installation: Installation) -> None:
    states = {"check_source": "failed", "encode_2": "success", "encode_0": "failed", "encode_1": "failed"}
    RunFailed().notify(run_context(states))
    lost = {fault.alert.task_id: fault.alert.headline for fault in faults(installation)}
    assert lost == {"check_source": "The task was lost", "encode": "The task was lost"}


def test_a_task_that_could_report_itself_is_not_reported_again(
    installation: Installation, webhook: WebhookStandIn
) -> None:
    context = task_context(ConnectionError("no route"))
    context["ti"].task_id = "check_source"
    TaskFailed().notify(context)
    RunFailed().notify(run_context({"check_source": "failed"}))
    assert only_fault(installation).alert.headline == "no route"
    assert len(webhook.calls) == 1
    RunFailed().notify(run_context({"check_source": "failed"}, run_id="the next run, where it was killed"))
    assert only_fault(installation).alert.headline == "The task was lost"


def test_a_run_that_failed_without_a_failed_task_is_reported(installation: Installation) -> None:
    RunFailed().notify(run_context({"check_source": "skipped"}, reason="timed_out"))
    alert = only_fault(installation).alert
    assert (alert.task_id, alert.headline) == (None, "Run: timed_out")


def test_a_run_whose_tasks_cannot_be_looked_up_is_reported(installation: Installation) -> None:
    RunFailed().notify(run_context({}) | {"ti": SimpleNamespace()})
    assert only_fault(installation).alert.headline == "Run: task_failure"


def test_a_missed_deadline_is_told_from_an_event_loop(installation: Installation, webhook: WebhookStandIn) -> None:
    run = {"dag_id": "ingest_episodes", "dag_run_id": RUN, "state": "running"}

    async def callback() -> None:
        await DeadlineMissed(context={"dag_run": run, "deadline": {}})  # type: ignore[arg-type]

    asyncio.run(callback())
    assert "has not ended in time: it is running" in webhook.calls[0].body["title"]
    RunSucceeded().notify(run_context({}))
    assert [call.body["type"] for call in webhook.calls] == ["failure", "success"]


def test_a_deadline_counts_from_when_a_run_was_queued_and_can_be_called_from_elsewhere() -> None:
    deadline = end_within(1.5)
    assert deadline.interval == 90 * 60
    assert deadline.reference == DeadlineReference.DAGRUN_QUEUED_AT
    assert deadline.callback.path == "operators.alerts.DeadlineMissed"


def test_warnings_of_a_run_that_goes_on_are_told_until_there_are_none(
    installation: Installation, webhook: WebhookStandIn
) -> None:
    for number in range(2):
        with running(task_context(None, run_id=f"run {number}")):
            report_quality(result(outcome("warning")))
    assert only_fault(installation).runs == 2
    with running(task_context(None, run_id="run 2")):
        report_quality(result(outcome("warning", what="Titles are there", column="title")))
        report_quality(result(outcome(success=True)))
    assert [call.body["type"] for call in webhook.calls] == ["warning", "warning", "success"], "another, another alert"
    assert faults(installation) == []


def test_a_refused_model_is_told_until_one_passes(installation: Installation, webhook: WebhookStandIn) -> None:
    refused = Decision(passed=False, tolerance=0.05, reasons=["Recall@30 went from 0.9 to 0.1"])
    with running(task_context(None)):
        report_gate("model-2", refused)
        report_gate("model-2", refused)
        report_gate("model-3", refused)
        report_gate("model-4", refused.model_copy(update={"passed": True}))
    assert [call.body["type"] for call in webhook.calls] == ["warning", "warning", "success"]
    assert "Recall@30 went from 0.9 to 0.1" in webhook.calls[0].body["message"]


def test_a_question_is_told_with_where_to_answer_it_until_it_is(
    installation: Installation, webhook: WebhookStandIn
) -> None:
    context = task_context(None) | {"task": SimpleNamespace(subject="Withdraw 9 of 10 episodes?")}
    ApprovalAwaited().notify(context)
    ApprovalAwaited().notify(context)  # nobody answered in time, and the next run asks the same
    with running(context):
        report_answered("another_task")
        report_answered("validate_raw_episodes")
    assert [call.body["type"] for call in webhook.calls] == ["warning", "success"]
    assert webhook.calls[0].body["title"].endswith("Waiting for approval: Withdraw 9 of 10 episodes?")
    assert "/tasks/validate_raw_episodes/required_actions" in webhook.calls[0].body["message"]
    assert faults(installation) == []


def test_a_rollback_is_told_with_who_approved_it_until_another_model_is_live(
    installation: Installation, webhook: WebhookStandIn
) -> None:
    there, back = rollback("m2", "m1"), rollback("m1", "m2")
    with running(task_context(None)):
        report_rollback(there, by="Ada")
        report_live("m1")
        assert len(webhook.calls) == 1, "the daily difference of the model that was gone back to ends nothing"
        report_rollback(back, by="Grace")
        report_live("m3")
    assert [call.body["type"] for call in webhook.calls] == ["warning", "warning", "success"]
    assert "Search was rolled back to m1, as approved by Ada" in webhook.calls[0].body["title"]
    assert "Search was rolled back to m2, as approved by Grace" in webhook.calls[1].body["title"]


def rollback(left: str, live: str) -> Rollback:
    def pointer(model: str) -> LivePointer:
        return LivePointer(
            backend="lancedb",
            index="i",
            namespace=model,
            model_version=model,
            snapshot_id="s",
            activated_at=datetime.now(UTC),
        )

    return Rollback(current=pointer(left), target=pointer(live), rows=1)


def test_a_snapshot_that_is_too_old_is_told_until_there_is_a_new_one(
    installation: Installation, webhook: WebhookStandIn
) -> None:
    with running(task_context(None)):
        report_freshness(timedelta(days=2), timedelta(days=3))
        report_freshness(timedelta(days=4), None)
        assert faults(installation) == []
        report_freshness(timedelta(days=4), timedelta(days=3))
        report_freshness(timedelta(days=5), timedelta(days=3))
        report_freshness(timedelta(hours=1), timedelta(days=3))
    assert [call.body["type"] for call in webhook.calls] == ["warning", "success"]
    assert "older than 3 days" in webhook.calls[0].body["title"]


def test_secrets_of_connections_are_masked_in_what_is_told_and_kept(
    installation: Installation, webhook: WebhookStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.log import mask_secret

    mask_secret(SECRET)
    TaskFailed().notify(task_context(RuntimeError(f"refused {SECRET}")))
    kept = only_fault(installation).model_dump_json()
    assert "refused ***" in kept
    assert SECRET not in kept + str(webhook.calls)


def store_is_broken(installation: Installation) -> None:
    root = Path(installation.settings.installation.artifacts_root)
    root.parent.mkdir(parents=True, exist_ok=True)
    root.write_text("no folder")


MET: list[Callable[[], None]] = [
    lambda: TaskFailed().notify(task_context(QualityError("x"), run_name="none", suite="none")),
    lambda: TaskFailed().notify({}),
    lambda: RunFailed().notify(run_context({"check_source": "failed"})),
    lambda: RunFailed().notify(run_context({}) | {"ti": None}),
    lambda: DeadlineMissed().notify({}),
    lambda: ApprovalAwaited().notify({}),
    lambda: report_rollback(rollback("m2", "m1"), by="Ada"),
    lambda: report_quality(result(outcome("warning"))),
    lambda: report_freshness(timedelta(9), timedelta(1)),
]
ENDED: list[Callable[[], None]] = [
    lambda: RunSucceeded().notify(run_context({})),
    lambda: report_answered("approve_deletions"),
    lambda: report_live("m1"),
]
"""With no store, there is nothing that could end."""


@pytest.mark.parametrize("report", [*MET, *ENDED])
@pytest.mark.parametrize("broken", [store_is_broken, lambda installation: None], ids=["no store", "a store"])
def test_nothing_that_goes_wrong_with_an_alert_goes_further(
    installation: Installation,
    webhook: WebhookStandIn,
    report: Callable[[], None],
    broken: Callable[[Installation], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It raises nothing; where the store is gone, what could not be kept is in the log."""
    broken(installation)
    webhook.fault = "error"
    report()
    assert caplog.records or report in ENDED or broken is not store_is_broken


def test_a_failure_is_told_where_the_store_is_out_of_reach(installation: Installation, webhook: WebhookStandIn) -> None:
    store_is_broken(installation)
    TaskFailed().notify(task_context(OSError("the store does not answer")))
    assert "the store does not answer" in webhook.calls[0].body["message"]


def test_a_failure_is_told_where_what_is_live_cannot_be_read(
    installation: Installation, webhook: WebhookStandIn
) -> None:
    installation.store.write_bytes(b"{", "live.json")
    TaskFailed().notify(task_context(OSError()))
    assert "Live: unknown: the artifact store cannot be read" in webhook.calls[0].body["message"]
