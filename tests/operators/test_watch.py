from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.context import set_current_context

from include.alerts.alert import Kind
from include.alerts.book import FaultBook
from include.settings import get_settings
from operators.alerts import TaskFailed
from operators.watch import CheckFreshnessOperator, RetryAlertsOperator
from tests.operators.conftest import Installation
from tests.standins.webhook import WebhookStandIn


@pytest.fixture
def context() -> Any:
    ti = SimpleNamespace(dag_id="watch_search", task_id="check_freshness", run_id="run", map_index=-1, try_number=1)
    return {"ti": ti}


@pytest.fixture
def check(context: Any) -> Callable[[], float | None]:
    def execute() -> float | None:
        get_settings.cache_clear()
        with set_current_context(context):
            return CheckFreshnessOperator(task_id="check_freshness").execute(context)

    return execute


def kinds(installation: Installation) -> list[Kind]:
    return [fault.alert.kind for fault in FaultBook(installation.store).all()]


def test_before_the_first_snapshot_there_is_nothing_to_say(
    installation: Installation, check: Callable[[], float | None]
) -> None:
    assert check() is None
    assert kinds(installation) == []


def test_an_old_snapshot_is_reported_where_a_limit_is_set(
    installation: Installation, check: Callable[[], float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.publish_snapshot()
    assert check() == 0.0
    assert kinds(installation) == [], "a source that seldom changes is no fault"
    monkeypatch.setenv("PODSEARCH_FRESHNESS_DAYS", "0.0000001")
    check()
    assert kinds(installation) == [Kind.FRESHNESS]
    monkeypatch.setenv("PODSEARCH_FRESHNESS_DAYS", "1")
    check()
    assert kinds(installation) == []


def test_alerts_that_could_not_be_sent_are_sent(
    installation: Installation, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WebhookStandIn().serve() as webhook:
        monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps(webhook.connection()))
        monkeypatch.setenv("PODSEARCH_ALERTS_CRITICAL", "hook")
        get_settings.cache_clear()
        webhook.fault = "error"
        context["exception"] = OSError("no route")
        TaskFailed().notify(context)
        RetryAlertsOperator(task_id="retry_alerts").execute(context)
        assert webhook.calls == []
        webhook.fault = None
        RetryAlertsOperator(task_id="retry_alerts").execute(context)
        RetryAlertsOperator(task_id="retry_alerts").execute(context)
        assert len(webhook.calls) == 1
