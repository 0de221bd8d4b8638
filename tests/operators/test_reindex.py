from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from include.devices.device import DeviceError
from include.evaluation.comparison import load_comparison
from include.index.live import NOTHING, live_entry, read_live
from include.index.opening import open_index
from include.index.plan import (
    Journal,
    begin_write,
    finish_write,
    load_plan,
    namespace_of,
    plan_reindex,
    read_journal,
    read_seconds,
    read_vectors,
)
from include.index.write import texts_to_encode
from include.retriever.encode import EmbeddingCache
from include.settings import get_settings
from include.storage import ArtifactStore
from operators.approval import ApproveDeletionsOperator
from operators.comparison import EvaluateModelOperator, PlanComparisonOperator
from operators.gpu import GpuOperator
from operators.names import LIVE_INDEX
from operators.reindex import (
    ActivateOperator,
    EncodeShardOperator,
    PlanReindexOperator,
    PrepareNamespaceOperator,
    ReindexStepOperator,
    RetireOperator,
)
from tests.models import build_model
from tests.operators.conftest import FakeContext, FakeTaskInstance, Installation, execute

Skips = Callable[[Any, FakeContext], str]


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Choose PODSEARCH_DEVICE on a machine that shows no GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def choose(device: str) -> None:
        monkeypatch.setenv("PODSEARCH_DEVICE", device)
        get_settings.cache_clear()

    return choose


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
    assert execute(compare(), context) == [{"model_version": base}]


def test_search_that_is_up_to_date_is_left_alone(
    installation: Installation, context: FakeContext, skips: Skips, tmp_path: Path
) -> None:
    installation.register_base(tmp_path / "base")
    hold_live(installation, tmp_path)
    assert "up to date" in skips(compare(), context)
    assert context.ti.pushed == {}

    open_index(installation.settings).drop(namespace_of("tuned"))
    assert execute(compare(), context), "an index that was lost is not up to date"


def test_a_new_model_is_measured_beside_the_base_and_what_is_live(
    installation: Installation, context: FakeContext, tmp_path: Path
) -> None:
    installation.search_with_tuned(tmp_path)
    installation.register_model(tmp_path / "newer", "newer")

    mapped = execute(compare(), context)

    assert [one["model_version"] for one in mapped] == ["base", "tuned", "newer"]
    comparison, _ = load_comparison(installation.store, context.ti.pushed["comparison_id"])
    assert comparison.candidate == "newer"


def plan_tuned(context: FakeContext) -> list[dict[str, int]]:
    plan = PlanReindexOperator(task_id="plan_reindex", model_version="tuned", live=live_now())
    return execute(plan, context)


def live_now() -> str:
    return live_entry(read_live(ArtifactStore(get_settings().installation.artifacts_root)))


def test_a_plan_is_mapped_over_shards_with_work_and_shows_what_it_costs(
    installation: Installation, context: FakeContext, tmp_path: Path
) -> None:
    installation.publish_snapshot()
    installation.register_model(tmp_path / "tuned", "tuned")
    mapped = plan_tuned(context)
    plan = load_plan(installation.store, context.ti.pushed["plan_id"])
    assert (plan.action, plan.added) == ("full", 6)
    assert mapped == [{"shard": shard} for shard in plan.shards]
    assert context.ti.pushed["cost"] == {"embed": 6, "write": 6, "delete": 0, "seconds": None}


def test_planning_writes_nothing_and_the_task_after_the_approval_does(
    installation: Installation, context: FakeContext, tmp_path: Path
) -> None:
    installation.publish_snapshot()
    installation.register_model(tmp_path / "tuned", "tuned")
    plan_tuned(context)
    index, plan_id = open_index(installation.settings), context.ti.pushed["plan_id"]
    assert (index.namespaces(), read_journal(installation.store, namespace_of("tuned"))) == ([], Journal())
    prepare = PrepareNamespaceOperator(task_id="prepare_namespace", plan_id=plan_id, live=NOTHING)
    execute(prepare, context)
    assert index.namespaces() == [namespace_of("tuned")]
    assert read_journal(installation.store, namespace_of("tuned")).plan_id == plan_id


def test_a_namespace_that_was_lost_is_planned_in_full(
    installation: Installation, context: FakeContext, tmp_path: Path
) -> None:
    """Before anything was asked or written, and not by a task that fails first."""
    hold_live(installation, tmp_path)
    plan_tuned(context)
    assert load_plan(installation.store, context.ti.pushed["plan_id"]).action == "nothing"
    open_index(installation.settings).drop(namespace_of("tuned"))
    plan_tuned(context)
    assert load_plan(installation.store, context.ti.pushed["plan_id"]).action == "full"


def hold_live(installation: Installation, folder: Path) -> None:
    """Have the six episodes live, with a model that was trained."""
    snapshot_id = installation.publish_snapshot()
    installation.register_model(folder / "tuned", "tuned")
    plan = plan_reindex(installation.store, model_version="tuned", live=None)
    index = open_index(installation.settings)
    index.create(plan.namespace, 4)
    begin_write(installation.store, plan, index.name)
    finish_write(installation.store, plan)
    installation.go_live("tuned", snapshot_id)


def approve(context: FakeContext) -> ApproveDeletionsOperator:
    """The task that asks about the plan in a context."""
    return ApproveDeletionsOperator(task_id="approve_deletions", plan_id=context.ti.pushed["plan_id"], live=live_now())


def test_few_deletions_go_on_without_asking(
    installation: Installation, context: FakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_live(installation, tmp_path)
    installation.write_dataset(episodes=5)
    installation.publish_snapshot("v2")
    plan_tuned(context)
    monkeypatch.setenv("PODSEARCH_MAX_DELETED_SHARE", "0.17")
    get_settings.cache_clear()
    assert execute(approve(context), context) is None


def test_many_deletions_are_asked_about(installation: Installation, context: FakeContext, tmp_path: Path) -> None:
    hold_live(installation, tmp_path)
    installation.write_dataset(episodes=4)
    installation.publish_snapshot("v2")
    plan_tuned(context)
    question = approve(context).ask()
    assert question is not None
    assert question[0] == "Delete 2 of 6 episodes (33.3 %) from search?"
    assert "`Episode 5`, from the show `Show 1`" in question[1]


@pytest.mark.parametrize(("map_index", "file"), [(-1, "step-0000.json"), (3, "step-0003.json")])
@pytest.mark.parametrize(("vectors", "kept"), [(None, 0), (7, 7)])
def test_how_long_a_step_took_and_for_how_many_vectors_is_kept(
    installation: Installation, tmp_path: Path, map_index: int, file: str, vectors: int | None, kept: int
) -> None:
    installation.publish_snapshot()
    installation.register_model(tmp_path / "tuned", "tuned")
    plan = plan_reindex(installation.store, model_version="tuned", live=None)

    class Step(ReindexStepOperator):
        def execute(self, context: Any) -> None:
            with self.timed(context) as timing:
                timing.vectors = vectors

    Step(task_id="step", plan_id=plan.plan_id, live=NOTHING).execute(FakeContext(ti=FakeTaskInstance(map_index)))
    assert read_vectors(installation.store, plan.plan_id) == {"step": kept}
    assert installation.store.names("reindex", plan.plan_id, "seconds") == [file]
    assert read_seconds(installation.store, plan.plan_id).keys() == {"step"}


def test_a_step_on_a_gpu_keeps_how_long_it_took_and_what_it_used(
    installation: Installation, no_gpu: Callable[[str], None], context: FakeContext, tmp_path: Path
) -> None:
    installation.publish_snapshot()
    installation.register_model(tmp_path / "tuned", "tuned")
    plan = plan_reindex(installation.store, model_version="tuned", live=None)

    class Step(GpuOperator, ReindexStepOperator):
        def execute(self, context: Any) -> str:
            with self.leased(context) as device, self.timed(context):
                return f"{self.plan.namespace} on {device.kind}"

    no_gpu("auto")
    assert Step(task_id="step", plan_id=plan.plan_id, live=NOTHING).execute(context) == f"{plan.namespace} on cpu"
    assert read_seconds(installation.store, plan.plan_id).keys() == {"step"}
    assert context.ti.pushed["device_usage"]["device"] == "cpu"


def test_texts_that_were_encoded_before_need_no_gpu(
    installation: Installation, no_gpu: Callable[[str], None], context: FakeContext, tmp_path: Path
) -> None:
    installation.publish_snapshot()
    installation.register_model(tmp_path / "tuned", "tuned")
    plan = plan_reindex(installation.store, model_version="tuned", live=None)
    shard = plan.shards[0]

    def encode() -> int:
        operator = EncodeShardOperator(task_id="encode_shard", plan_id=plan.plan_id, live=NOTHING, shard=shard)
        return int(execute(operator, context))

    no_gpu("cuda")
    with pytest.raises(DeviceError):
        encode()
    hashes = list(texts_to_encode(installation.store, plan, shard))
    cache = EmbeddingCache(installation.store, "tuned", "elsewhere")
    cache.add(hashes, np.ones((len(hashes), 4), dtype=np.float32))
    assert encode() == 0


def test_a_model_that_was_measured_before_needs_no_gpu(
    installation: Installation, no_gpu: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installation.publish_snapshot()
    monkeypatch.setenv("PODSEARCH_BASE_MODEL", str(build_model(tmp_path)))
    no_gpu("auto")
    contexts = [FakeContext(run_type="manual") for _ in range(3)]
    [mapped] = execute(compare(), contexts[0])

    def measure(context: FakeContext) -> Any:
        comparison_id = contexts[0].ti.pushed["comparison_id"]
        operator = EvaluateModelOperator(task_id="evaluate_model", comparison_id=comparison_id, **mapped)
        return execute(operator, context)

    measured = measure(contexts[1])
    assert contexts[1].ti.pushed["device_usage"]["fallback"] is True
    no_gpu("cuda")
    assert measure(contexts[2]) == measured
    assert contexts[2].ti.pushed == {"device_usage": {}}


def test_with_nothing_live_nothing_is_retired(installation: Installation, context: FakeContext) -> None:
    assert execute(RetireOperator(task_id="retire"), context) == {"namespaces": [], "models": []}


def test_going_live_is_announced() -> None:
    assert activating("p", "c", {}, NOTHING).outlets == [LIVE_INDEX]


def activating(plan_id: str, comparison_id: str, verification: Any, live: str) -> ActivateOperator:
    return ActivateOperator(
        task_id="activate",
        plan_id=plan_id,
        live=live,
        comparison_id=comparison_id,
        verification=verification,
        report="r",
    )
