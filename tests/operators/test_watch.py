from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from airflow.sdk.execution_time.context import set_current_context

from include.alerts.alert import FaultKind
from include.alerts.book import Fault, FaultBook
from include.feedback.figures import Day
from include.index import watched
from include.index.contract import Records
from include.index.lancedb import LanceIndex
from include.index.live import require_live
from include.settings import get_settings
from operators.alerts import TaskFailed
from operators.base import PodsearchOperator
from operators.watch import (
    CheckFreshnessOperator,
    CheckLagOperator,
    CheckListeningOperator,
    CheckSearchOperator,
    RetryAlertsOperator,
)
from tests.include.search.catalogue import make_live
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


def execute(operator: PodsearchOperator, context: Any) -> Any:
    get_settings.cache_clear()
    with set_current_context(context):
        return operator.execute(context)


def faults(installation: Installation) -> list[Fault]:
    return FaultBook(installation.store).all()


def kinds(installation: Installation) -> list[FaultKind]:
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
    assert kinds(installation) == [FaultKind.FRESHNESS]
    monkeypatch.setenv("PODSEARCH_FRESHNESS_DAYS", "1")
    check()
    assert kinds(installation) == []


def test_search_that_stays_behind_is_reported_until_it_has_caught_up(
    installation: Installation, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paused re-index was invisible."""

    def check() -> float | None:
        hours: float | None = execute(CheckLagOperator(task_id="check_lag"), context)
        return hours

    assert check() is None, "nothing was published"
    first = installation.publish_snapshot()
    assert check() == 0.0
    assert kinds(installation) == [], "a re-index takes its time"

    monkeypatch.setenv("PODSEARCH_INDEX_LAG_HOURS", "1e-9")
    check()
    assert [fault.alert.detail.split(";")[0] for fault in faults(installation)] == ["Nothing is live"]
    installation.go_live("model", first)
    assert check() is None
    assert kinds(installation) == []

    installation.write_dataset(episodes=7)
    installation.publish_snapshot("v2")
    installation.write_dataset(episodes=8)
    latest = installation.publish_snapshot("v3")
    check()
    [fault] = faults(installation)
    assert (fault.alert.kind, fault.alert.severity) == (FaultKind.LAG, "warning")
    assert f"Search answers from the snapshot {first}; {latest} was published at" in fault.alert.detail
    assert "the last of 2 since then" in fault.alert.detail
    assert "reindex_episodes is paused" in fault.alert.next_step
    installation.go_live("model", latest)
    assert check() is None
    assert kinds(installation) == []


@pytest.fixture
def searchable(installation: Installation, tmp_path: Path) -> Installation:
    """With fifteen live episodes that a tiny model finds."""
    make_live(tmp_path / "home")
    return installation


def test_search_that_misses_what_it_is_known_to_find_is_reported_until_it_finds_it(
    searchable: Installation, context: Any
) -> None:
    def check() -> dict[str, int] | None:
        result: dict[str, int] | None = execute(CheckSearchOperator(task_id="check_search"), context)
        return result

    assert check() == {"asked": 10, "answered": 10}
    assert kinds(searchable) == []
    index, namespace = LanceIndex(searchable.settings.index_root), require_live(searchable.store).namespace
    ids = list(index.list_ids(namespace))
    stored = index.fetch(namespace, ids)
    index.delete(namespace, ids[:-1])
    found = check()
    assert found is not None
    assert found["answered"] < 3
    [fault] = faults(searchable)
    assert (fault.alert.kind, fault.alert.severity) == (FaultKind.SEARCH, "critical")
    assert fault.alert.headline == f"Search misses {10 - found['answered']} of 10 episodes that it is known to find"
    assert "Not among the first 30 results: “" in fault.alert.detail
    index.upsert(
        namespace,
        [Records(ids, np.stack([stored[key].values for key in ids]), [stored[key].metadata for key in ids])],
    )
    assert check() == {"asked": 10, "answered": 10}
    assert kinds(searchable) == []


def test_what_is_seen_is_noted_and_what_leaves_recent_days_reported_until_it_is_as_usual(
    searchable: Installation, context: Any
) -> None:
    store = searchable.store
    check = CheckSearchOperator(task_id="check_search")
    live = require_live(store)
    now = datetime.now(UTC)

    def keep(ago: int, score: float, records: int = 15) -> None:
        at = now - timedelta(days=ago)
        look = watched.Look(
            at=at, index=live.index, namespace=live.namespace, records=records, age=0, score=score, seconds=1
        )
        store.write_json({"looks": [look.model_dump(mode="json")] * 6}, *watched.FOLDER, f"{at.date()}.json")

    for ago in range(2, 12):
        keep(ago, 0.6)
    keep(1, 0.2)
    execute(check, context)
    (look,) = watched.load(store, most=1)
    assert (look.index, look.namespace, look.records) == (live.index, live.namespace, 15)
    assert look.score is not None
    assert 0 < look.score <= 1
    assert look.seconds is not None
    assert 0 < look.seconds < 60
    assert 0 <= look.age < 3_600
    (fault,) = faults(searchable)
    assert (fault.alert.kind, fault.alert.severity, fault.alert.cause) == (FaultKind.CHANGE, "warning", "score")
    assert "was 0.200. On the days before it was 0.600; at least 0.580 was to be expected." in fault.alert.detail
    for ago in range(1, 8):
        keep(ago, 0.6, records=30)
    execute(check, context)
    (fault,) = faults(searchable)
    assert fault.alert.cause == "size"
    assert fault.alert.detail.startswith("The index has 15 records; in the week before, 30 were usual.")
    for ago in range(1, 8):
        keep(ago, 0.6)
    execute(check, context)
    assert kinds(searchable) == []


def test_before_anything_is_live_there_is_nothing_to_ask(installation: Installation, context: Any) -> None:
    assert execute(CheckSearchOperator(task_id="check_search"), context) is None
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


def test_a_day_on_which_listeners_found_less_is_reported_until_one_is_as_usual(
    installation: Installation, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODSEARCH_RECORD_SEARCHES_DAYS", "30")
    today = datetime.now(UTC).date()

    def keep(ago: int, successful: int) -> None:
        day = Day(day=today - timedelta(days=ago), searches=1_000, successful=successful)
        installation.store.write_json(day.model_dump(mode="json"), "feedback", "days", f"{day.day}.json")

    check = CheckListeningOperator(task_id="check_listening")
    for ago in range(2, 16):
        keep(ago, 400 + ago)
    assert execute(check, context) is None
    assert kinds(installation) == []
    keep(1, 150)
    assert execute(check, context) == {"searches": 1_000, "success": 0.15}
    (fault,) = faults(installation)
    assert (fault.alert.kind, fault.alert.severity) == (FaultKind.LISTENING, "warning")
    assert "share of successful searches was 0.150" in fault.alert.detail
    keep(1, 404)
    execute(check, context)
    assert kinds(installation) == []
