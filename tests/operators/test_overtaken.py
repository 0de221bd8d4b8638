"""A task of ``reindex_episodes`` is cleared in a run that a newer one, or a person, has overtaken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from include.errors import PermanentError
from include.evaluation.comparison import load_comparison, load_decision
from include.index.lancedb import LanceIndex
from include.index.live import read_live, require_live
from include.index.plan import OutdatedPlanError, Plan, distrust, finish_write, forget, load_plan, namespace_of
from include.index.rollback import plan_rollback, roll_back
from include.index.write import verify
from include.storage import ArtifactStore
from operators.approval import ApproveDeletionsOperator
from operators.comparison import GateOperator, PlanComparisonOperator
from operators.names import LIVE_INDEX
from operators.reindex import (
    ActivateOperator,
    DeleteWithdrawnOperator,
    EncodeShardOperator,
    FinishIndexOperator,
    PlanReindexOperator,
    PrepareNamespaceOperator,
    PublishReportOperator,
    UpsertShardOperator,
    VerifyIndexOperator,
)
from tests.include.index.workshop import write
from tests.operators.conftest import FakeContext, Installation, execute

Skips = Callable[..., str]


@dataclass
class Run:
    """A run of reindex_episodes on tiny vectors: what its tasks have told each other."""

    store: ArtifactStore
    index: LanceIndex
    model: str
    context: FakeContext = field(default_factory=FakeContext)

    def begin(self) -> None:
        """plan_comparison, and plan_reindex with the model."""
        execute(PlanComparisonOperator(task_id="plan_comparison"), self.context)
        execute(self.plan_reindex(), self.context)

    def write(self) -> None:
        write(self.store, self.index, self.plan)

    def verify(self) -> None:
        self.verification = verify(self.store, self.index, self.plan).model_dump()

    def whole(self) -> Run:
        self.begin()
        self.write()
        self.verify()
        execute(self.activate(), self.context)
        return self

    @property
    def told(self) -> dict[str, Any]:
        return self.context.ti.pushed

    @property
    def plan(self) -> Plan:
        return load_plan(self.store, self.told["plan_id"])

    def plan_reindex(self) -> PlanReindexOperator:
        return PlanReindexOperator(task_id="plan_reindex", model_version=self.model, live=self.told["live"])

    def gate(self) -> GateOperator:
        return GateOperator(task_id="gate", comparison_id=self.told["comparison_id"], live=self.told["live"])

    def activate(self) -> ActivateOperator:
        return ActivateOperator(
            task_id="activate",
            plan_id=self.told["plan_id"],
            live=self.told["live"],
            comparison_id=self.told["comparison_id"],
            verification=self.verification,
            report="r",
        )

    def steps(self) -> list[Any]:
        """Every other task that works on the plan."""
        told = {"plan_id": self.told["plan_id"], "live": self.told["live"]}
        compared = told | {"comparison_id": self.told["comparison_id"]}
        return [
            ApproveDeletionsOperator(task_id="approve_deletions", **told),
            PrepareNamespaceOperator(task_id="prepare_namespace", **told),
            EncodeShardOperator(task_id="encode_shard", shard=0, **told),
            UpsertShardOperator(task_id="upsert_shard", shard=0, **told),
            DeleteWithdrawnOperator(task_id="delete_withdrawn", **told),
            FinishIndexOperator(task_id="finish_index", **told),
            VerifyIndexOperator(task_id="verify_index", **compared),
            PublishReportOperator(task_id="publish_report", verification=self.verification, **compared),
            self.activate(),
        ]


@pytest.fixture
def begin(installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Run]:
    """A run that indexes with a model, which is registered if it is not, and not measured."""
    monkeypatch.setattr("include.evaluation.publish.headline_metrics", lambda *_: {})
    installation.publish_snapshot()
    installation.register_base(tmp_path / "base")
    index = LanceIndex(installation.settings.index_root)

    def run(model: str) -> Run:
        if not installation.store.is_complete("models", model):
            installation.register_model(tmp_path / model, model, dimension=8)
        return Run(installation.store, index, model)

    return run


def publish_more(installation: Installation) -> str:
    installation.write_dataset(episodes=9)
    return installation.publish_snapshot("v2")


def test_a_cleared_activation_does_not_take_search_back_to_the_model_before(
    begin: Callable[[str], Run], skips: Skips
) -> None:
    older, newer = begin("m1").whole(), begin("m2").whole()
    cleared = FakeContext()
    reason = skips(older.activate(), cleared)
    live = require_live(older.store)
    assert (live.namespace, live.snapshot_id) == (namespace_of("m2"), newer.plan.snapshot_id)
    assert "A newer run has overtaken this one, so it changes nothing." in reason
    assert "nothing was live; now m2 on snapshot" in reason
    assert not cleared.announced(LIVE_INDEX)


def test_a_cleared_activation_of_the_run_that_is_live_is_repeated(begin: Callable[[str], Run]) -> None:
    run = begin("m1").whole()
    before = require_live(run.store)
    execute(run.activate(), FakeContext())
    assert require_live(run.store) == before


def test_every_step_of_a_plan_that_was_overtaken_is_skipped(
    begin: Callable[[str], Run], installation: Installation, skips: Skips
) -> None:
    older = begin("m1").whole()
    newest = publish_more(installation)
    begin("m1").whole()
    before = read_live(older.store), older.index.count(namespace_of("m1"))
    for task in older.steps():
        assert "A newer run has overtaken this one, so it changes nothing." in skips(task, FakeContext()), task
    assert (read_live(older.store), older.index.count(namespace_of("m1"))) == before
    assert require_live(older.store).snapshot_id == newest


def test_planning_asking_and_preparing_again_is_skipped_when_another_model_is_live(
    begin: Callable[[str], Run], installation: Installation, skips: Skips
) -> None:
    older = begin("m1").whole()
    begin("m2").whole()
    publish_more(installation)
    plan_id = older.told["plan_id"]
    ask, prepare, *_ = older.steps()
    for task in (older.plan_reindex(), ask, prepare):
        assert "now m2" in skips(task, older.context), task
    assert older.told["plan_id"] == plan_id


def test_what_was_retired_is_not_built_again(begin: Callable[[str], Run], skips: Skips) -> None:
    older = begin("m1").whole()
    begin("m2").whole()
    older.index.drop(namespace_of("m1"))
    forget(older.store, namespace_of("m1"))
    for task in older.steps():
        assert "now m2" in skips(task, FakeContext()), task
    assert older.index.namespaces() == [namespace_of("m2")]


def test_a_namespace_that_was_lost_and_that_no_newer_run_has_built_is_no_overtaking(
    begin: Callable[[str], Run],
) -> None:
    run = begin("m1")
    run.begin()
    run.write()
    run.verify()
    forget(run.store, namespace_of("m1"))
    with pytest.raises(OutdatedPlanError, match="run reindex_episodes again from its planning task"):
        execute(
            UpsertShardOperator(task_id="upsert_shard", shard=0, plan_id=run.plan.plan_id, live=run.told["live"]),
            FakeContext(),
        )


def test_a_model_that_a_person_went_back_from_meanwhile_does_not_go_live(
    begin: Callable[[str], Run], installation: Installation, skips: Skips
) -> None:
    begin("m1").whole()
    begin("m2").whole()
    publish_more(installation)
    going = begin("m2")
    going.begin()
    going.write()
    rollback = plan_rollback(going.store, lambda _: going.index)
    roll_back(going.store, rollback, lambda _: going.index)
    going.verify()
    assert "A person rolled back from m2 to m1, which stays live." in skips(going.activate(), FakeContext())
    assert require_live(going.store).namespace == namespace_of("m1")


def test_a_gate_that_was_overtaken_decides_nothing(begin: Callable[[str], Run], skips: Skips) -> None:
    older = begin("m1")
    older.begin()
    comparison, _ = load_comparison(older.store, older.told["comparison_id"])
    assert comparison.candidate == "m1"
    begin("m2").whole()
    assert "now m2" in skips(older.gate(), FakeContext())
    assert load_decision(older.store, comparison.comparison_id) is None
    assert older.store.names("decisions") == []


@pytest.mark.parametrize("verified", ["namespace", "snapshot"])
def test_what_was_not_verified_does_not_go_live(
    begin: Callable[[str], Run], installation: Installation, verified: str
) -> None:
    """verify_index was marked as success by hand: its result, if there is one, is of something else."""
    before = begin("m1").whole()
    publish_more(installation)
    run = begin("m1")
    run.begin()
    run.write()
    run.verification = before.verification
    if verified == "snapshot":
        run.verification = run.verification | {"snapshot_id": run.plan.snapshot_id}
    else:
        finish_write(run.store, run.plan)
    with pytest.raises(PermanentError, match="clear verify_index, with the tasks after it"):
        execute(run.activate(), run.context)
    assert require_live(run.store).snapshot_id == before.plan.snapshot_id


def test_a_namespace_that_was_found_wrong_since_it_was_verified_does_not_go_live(begin: Callable[[str], Run]) -> None:
    run = begin("m1")
    run.begin()
    run.write()
    run.verify()
    distrust(run.store, run.plan)
    with pytest.raises(PermanentError, match=f"{namespace_of('m1')} was not verified to hold the snapshot"):
        execute(run.activate(), run.context)
    assert read_live(run.store) is None
