"""What tasks report while they run, and when it is over."""

from __future__ import annotations

from datetime import timedelta

from include.evaluation.gate import Decision
from operators.reports import (
    report_freshness,
    report_gate,
    report_live,
    report_quality,
    report_rollback,
)
from tests.operators.alerting import (
    faults,
    of_run,
    only_fault,
    outcome,
    result,
    rollback,
    running,
    task_context,
)
from tests.operators.conftest import Installation
from tests.standins.webhook import WebhookStandIn


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
