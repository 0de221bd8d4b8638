from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG
from airflow.sdk.definitions.deadline import DeadlineReference

from include.alerts.alert import FaultKind, Severity
from include.errors import PermanentError
from include.quality.result import FOLDER, QualityError, QualityResult
from operators.alerts import (
    ApprovalAwaited,
    DeadlineMissed,
    RunFailed,
    RunSucceeded,
    TaskFailed,
    end_within,
)
from operators.reports import (
    report_answered,
    report_freshness,
    report_live,
    report_quality,
    report_rollback,
)
from tests.operators.alerting import (
    RUN,
    faults,
    of_run,
    only_fault,
    outcome,
    result,
    rollback,
    run_context,
    running,
    task_context,
)
from tests.operators.conftest import Installation
from tests.standins.webhook import WebhookStandIn

SECRET = "S3cretValue42"


def keep(installation: Installation, found: QualityResult) -> None:
    installation.store.write_json(found.model_dump(mode="json"), FOLDER, "version", f"{found.suite}.json")


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
