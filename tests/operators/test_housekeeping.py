from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.feedback.events import days, folder
from include.settings import get_settings
from operators.housekeeping import ForgetSearchesOperator, PruneArtifactsOperator, PruneMachineOperator
from tests.operators.conftest import FakeContext, FakeTaskInstance, Installation


class BusyTaskInstance(FakeTaskInstance):
    """One that knows which DAGs have runs that are going."""

    running: frozenset[str] = frozenset()

    def get_dr_count(self, dag_id: str, states: list[str]) -> int:
        assert states == ["running"]
        return int(dag_id in self.running)


@pytest.fixture
def context() -> FakeContext:
    return FakeContext(ti=BusyTaskInstance(), params={"dry_run": False})


def prune(context: Any) -> dict[str, Any]:
    operator = PruneArtifactsOperator(task_id="prune_artifacts", unless_running=["train_retriever", "reindex_episodes"])
    return operator.execute(context)


def make_old(folder: Path) -> None:
    then = time.time() - 400 * 24 * 3600
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


@pytest.fixture
def old(installation: Installation, tmp_path: Path) -> Installation:
    """One that went live 400 days ago, with a training that never ended."""
    installation.register_model(tmp_path / "model", "m1")
    installation.go_live("m1", installation.publish_snapshot())
    installation.store.write_bytes(b"pairs", "training", "given-up", "pairs.parquet")
    make_old(Path(installation.settings.installation.artifacts_root))
    return installation


def test_old_artifacts_go_and_the_result_says_how_many(old: Installation, context: FakeContext) -> None:
    assert prune(context) == {"dry_run": False, "kinds": {"trainings": {"items": 1, "bytes": 5}}}
    assert old.store.names("training") == []


def test_a_dry_run_only_says_so_and_waits_for_nobody(old: Installation, context: FakeContext) -> None:
    context.params["dry_run"] = True
    BusyTaskInstance.running = frozenset({"train_retriever"})
    try:
        assert prune(context)["kinds"] == {"trainings": {"items": 1, "bytes": 5}}
    finally:
        BusyTaskInstance.running = frozenset()
    assert old.store.names("training") == ["given-up"]


def test_while_another_dag_runs_nothing_is_removed(
    old: Installation,
    context: FakeContext,
    skips: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BusyTaskInstance, "running", frozenset({"train_retriever"}))
    operator = PruneArtifactsOperator(task_id="prune_artifacts", unless_running=["train_retriever", "reindex_episodes"])
    assert "train_retriever is running" in skips(operator, context)
    assert old.store.names("training") == ["given-up"]


def test_ages_are_settings(old: Installation, context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSEARCH_KEEP_WORK_DAYS", "401")
    get_settings.cache_clear()
    assert prune(context)["kinds"] == {}


def test_old_work_and_logs_leave_the_machine(
    old: Installation, context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "logs"))
    for file in (
        old.settings.installation.work_root / "t1" / "weights",
        tmp_path / "logs" / "dag_id=a" / "attempt=1.log",
    ):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"12345")
        make_old(file.parent.parent)
    found = PruneMachineOperator(task_id="prune_machine").execute(context)
    assert found["kinds"] == {"unfinished work": {"items": 1, "bytes": 5}, "logs": {"items": 1, "bytes": 5}}
    assert [path.name for path in old.settings.installation.work_root.iterdir()] == ["prepare.lock"]


def test_recorded_searches_are_kept_as_long_as_listeners_are_told(
    installation: Installation, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.now(UTC).date()
    for age in (0, 1, 2):
        installation.store.write_bytes(b"", *folder(today - timedelta(days=age)), "events.parquet")
    monkeypatch.setenv("PODSEARCH_RECORD_SEARCHES_DAYS", "2")
    get_settings.cache_clear()
    forget = ForgetSearchesOperator(task_id="forget_searches")
    context.params["dry_run"] = True
    assert forget.execute(context) == []
    context.params["dry_run"] = False
    assert forget.execute(context) == [str(today - timedelta(days=2))]
    assert days(installation.store) == [today - timedelta(days=1), today]
