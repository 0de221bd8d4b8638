from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.evaluation.comparison import load_comparison
from include.index.contract import open_index
from include.index.plan import begin_write, finish_write, load_plan, plan_reindex, read_seconds
from operators.comparison import PlanComparisonOperator
from operators.names import LIVE_INDEX
from operators.reindex import (
    ActivateOperator,
    PlanReindexOperator,
    ReindexStepOperator,
    RetireOperator,
)
from tests.operators.conftest import FakeContext, FakeTaskInstance, Installation

Skips = Callable[[Any, FakeContext], str]


def compare() -> PlanComparisonOperator:
    return PlanComparisonOperator(task_id="plan_comparison")


def test_without_episodes_there_is_nothing_to_index(
    installation: Installation, context: FakeContext, skips: Skips
) -> None:
    assert "ingest_episodes" in skips(compare(), context)


def test_the_first_model_is_waited_for_rather_than_the_base_model_indexed(
    installation: Installation, context: FakeContext, skips: Skips
) -> None:
    installation.publish_snapshot()
    assert "train_retriever" in skips(compare(), context)


def test_by_hand_the_base_model_is_indexed_before_the_first_training(
    installation: Installation, tmp_path: Path
) -> None:
    context = FakeContext(run_type="manual")
    installation.publish_snapshot()
    base = installation.register_base(tmp_path / "base")
    assert compare().execute(context) == [{"model_version": base}]  # type: ignore[arg-type]


def test_search_that_is_up_to_date_is_left_alone(
    installation: Installation, context: FakeContext, skips: Skips, tmp_path: Path
) -> None:
    snapshot_id = installation.publish_snapshot()
    installation.register_base(tmp_path / "base")
    installation.register_model(tmp_path / "tuned", "tuned")
    plan = plan_reindex(installation.store, model_version="tuned", live=None)
    index = open_index(installation.settings)
    index.create("tuned", 32)
    begin_write(installation.store, plan, index.name)
    finish_write(installation.store, plan)
    installation.go_live("tuned", snapshot_id)
    assert "up to date" in skips(compare(), context)
    assert context.ti.pushed == {}

    index.drop("tuned")
    assert compare().execute(context), "an index that was lost is not up to date"  # type: ignore[arg-type]


def test_a_new_model_is_measured_beside_the_base_and_what_is_live(
    installation: Installation, context: FakeContext, tmp_path: Path
) -> None:
    snapshot_id = installation.publish_snapshot()
    installation.register_base(tmp_path / "base")
    installation.register_model(tmp_path / "tuned", "tuned")
    installation.go_live("tuned", snapshot_id)
    installation.register_model(tmp_path / "newer", "newer")

    mapped = compare().execute(context)  # type: ignore[arg-type]

    assert [one["model_version"] for one in mapped] == ["base", "tuned", "newer"]
    comparison, _ = load_comparison(installation.store, context.ti.pushed["comparison_id"])
    assert comparison.candidate == "newer"


def test_a_plan_makes_its_namespace_and_is_mapped_over_shards_with_work(
    installation: Installation, context: FakeContext, tmp_path: Path
) -> None:
    installation.publish_snapshot()
    installation.register_model(tmp_path / "tuned", "tuned")
    mapped = PlanReindexOperator(task_id="plan_reindex", model_version="tuned").execute(context)  # type: ignore[arg-type]
    plan = load_plan(installation.store, context.ti.pushed["plan_id"])
    assert (plan.action, plan.added) == ("full", 6)
    assert mapped == [{"shard": shard} for shard in plan.shards]
    assert open_index(installation.settings).namespaces() == ["tuned"]


@pytest.mark.parametrize(("map_index", "file"), [(-1, "step-0000.json"), (3, "step-0003.json")])
def test_how_long_a_step_took_is_kept_for_the_report(
    installation: Installation, tmp_path: Path, map_index: int, file: str
) -> None:
    installation.publish_snapshot()
    installation.register_model(tmp_path / "tuned", "tuned")
    plan = plan_reindex(installation.store, model_version="tuned", live=None)

    class Step(ReindexStepOperator):
        def step(self, plan: Any, context: Any) -> str:
            return str(plan.namespace)

    context = FakeContext(ti=FakeTaskInstance(map_index))
    assert Step(task_id="step", plan_id=plan.plan_id).execute(context) == "tuned"  # type: ignore[arg-type]
    assert installation.store.names("reindex", plan.plan_id, "seconds") == [file]
    assert read_seconds(installation.store, plan.plan_id).keys() == {"step"}


def test_with_nothing_live_nothing_is_retired(installation: Installation, context: FakeContext) -> None:
    assert RetireOperator(task_id="retire").execute(context) == []  # type: ignore[arg-type]


def test_going_live_is_announced() -> None:
    assert ActivateOperator(task_id="activate", plan_id="p", comparison_id="c", report="r").outlets == [LIVE_INDEX]
