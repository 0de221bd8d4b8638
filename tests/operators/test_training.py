from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.quality.result import QualityError
from include.retriever.recipe import read_recipe
from include.retriever.registry import load_manifest, newest_trained
from include.retriever.training.pairing import read_summary
from include.retriever.training.plan import load_plan
from include.retriever.training.queries import queries_written
from include.settings import get_settings
from include.storage import MANIFEST
from operators.names import RETRIEVER
from operators.training import (
    BuildPairsOperator,
    FineTuneOperator,
    GenerateQueriesOperator,
    PlanTrainingOperator,
    RegisterModelOperator,
    RoundTripOperator,
    ValidateQueriesOperator,
    generator_gpus,
)
from tests.include.feedback.listening import Listening
from tests.operators.conftest import FakeContext, Installation, execute

Skips = Callable[[Any, FakeContext], str]


def plan(force: bool | str = False) -> PlanTrainingOperator:
    return PlanTrainingOperator(task_id="plan_training", force=force)


def test_without_episodes_there_is_nothing_to_train_on(
    installation: Installation, context: FakeContext, skips: Skips
) -> None:
    assert "ingest_episodes" in skips(plan(force="True"), context)


def test_the_first_training_is_due_and_mapped_over_the_shards_that_have_episodes(
    installation: Installation, context: FakeContext
) -> None:
    snapshot_id = installation.publish_snapshot()
    shards = execute(plan(), context)

    planned = load_plan(installation.store, context.ti.pushed["training_id"])
    assert shards == [{"shard": number} for number in range(len(planned.query_shards))]
    assert shards
    assert planned.snapshot_id == snapshot_id
    assert planned.base_model == installation.base_model
    assert planned.recipe == read_recipe(installation.settings.training.recipe)


@pytest.mark.parametrize(("days", "used"), [(0, False), (30, True)])
def test_what_was_recorded_is_learnt_from_while_it_is_recorded(
    installation: Installation, context: FakeContext, monkeypatch: pytest.MonkeyPatch, days: int, used: bool
) -> None:
    installation.publish_snapshot()
    listening = Listening(installation.store)
    listening.play(listening.search("a rocket"), "e1")
    listening.write()
    monkeypatch.setenv("PODSEARCH_RECORD_SEARCHES_DAYS", str(days))
    get_settings.cache_clear()
    execute(plan(), context)
    assert (load_plan(installation.store, context.ti.pushed["training_id"]).recorded is not None) is used


def test_planning_again_names_the_same_training(installation: Installation) -> None:
    installation.publish_snapshot()
    contexts = FakeContext(), FakeContext()
    results = [execute(plan(), context) for context in contexts]
    assert results[0] == results[1]
    assert contexts[0].ti.pushed == contexts[1].ti.pushed


@pytest.mark.parametrize("force", [False, "False"])
def test_a_young_model_of_the_same_recipe_will_do(
    installation: Installation, context: FakeContext, skips: Skips, tmp_path: Path, force: bool | str
) -> None:
    installation.publish_snapshot()
    installation.register_model(tmp_path / "model", "tuned")
    assert "No new model is due" in skips(plan(force), context)
    assert context.ti.pushed == {}


@pytest.mark.parametrize("force", [True, "True"])
def test_a_person_can_have_a_model_trained_all_the_same(
    installation: Installation, context: FakeContext, tmp_path: Path, force: bool | str
) -> None:
    """The parameter arrives as text where templates are rendered to text."""
    installation.publish_snapshot()
    installation.register_model(tmp_path / "model", "tuned")
    assert execute(plan(force), context)
    assert "training_id" in context.ti.pushed


@pytest.mark.parametrize(
    "stale",
    [{"registered_at": datetime.now(UTC) - timedelta(days=40)}, {"base_model": "another"}, {"recipe": {"epochs": 9}}],
    ids=lambda values: next(iter(values)),
)
def test_an_old_model_or_one_of_another_recipe_will_not_do(
    installation: Installation, context: FakeContext, tmp_path: Path, stale: dict[str, Any]
) -> None:
    installation.publish_snapshot()
    installation.register_model(tmp_path / "model", "tuned", **stale)
    assert execute(plan(), context)


def test_queries_are_written_for_each_shard_and_become_pairs(installation: Installation, context: FakeContext) -> None:
    installation.publish_snapshot()
    shards = execute(plan(), context)
    training_id = context.ti.pushed["training_id"]
    for own in shards:
        operator = GenerateQueriesOperator(task_id="generate_queries", training_id=training_id, gpus=0, **own)
        written = execute(operator, context)
        assert execute(operator, context) == written, "a shard that is there is left alone"
        assert queries_written(installation.store, load_plan(installation.store, training_id), own["shard"]) == written
    counts = execute(BuildPairsOperator(task_id="build_pairs", training_id=training_id), context)
    assert counts["pairs"] == sum(counts["by_split"].values())


def test_pairs_are_validated_before_they_are_trained_on(installation: Installation, context: FakeContext) -> None:
    training_id = write_pairs(installation, context)
    operator = ValidateQueriesOperator(task_id="validate_queries", training_id=training_id, run_name="t")
    found = execute(operator, context)
    assert (found["suite"], found["success"]) == ("queries", True)
    assert installation.store.exists(found["docs"])

    summary = read_summary(installation.store, training_id)
    flood = summary.model_copy(update={"dropped": {"not_words": 1000}})
    installation.store.write_json(flood.model_dump(), "training", training_id, "pairs.json")
    with pytest.raises(QualityError, match="no flood"):
        execute(operator, context)


def test_without_a_round_trip_nothing_is_asked_and_no_gpu_is_waited_for(
    installation: Installation, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    training_id = write_pairs(installation, context)
    monkeypatch.setattr("include.devices.device.borrow", lambda *_, **__: pytest.fail("a device was borrowed"))
    operator = RoundTripOperator(task_id="round_trip", training_id=training_id)
    assert execute(operator, context) == {"asked": 0, "dropped": 0}


def write_pairs(installation: Installation, context: FakeContext) -> str:
    """Plan a training, write its queries and pairs; its id."""
    installation.publish_snapshot()
    shards = execute(plan(), context)
    training_id: str = context.ti.pushed["training_id"]
    for own in shards:
        operator = GenerateQueriesOperator(task_id="generate_queries", training_id=training_id, gpus=0, **own)
        execute(operator, context)
    execute(BuildPairsOperator(task_id="build_pairs", training_id=training_id), context)
    return training_id


@pytest.mark.parametrize(("generator", "gpus"), [("extractive", 0), ("doc2query", 1)])
def test_only_a_model_that_writes_queries_takes_a_gpu(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, generator: str, gpus: int
) -> None:
    monkeypatch.setenv("PODSEARCH_QUERY_GENERATOR", generator)
    get_settings.cache_clear()
    assert generator_gpus() == gpus


def test_a_registered_model_is_announced() -> None:
    assert registering("t", [], {}).outlets == [RETRIEVER]


def registering(training_id: str, trainings: Any, usage: Any) -> RegisterModelOperator:
    return RegisterModelOperator(
        task_id="register_model", training_id=training_id, trainings=trainings, device_usage=usage
    )


def test_a_model_that_is_registered_late_is_not_the_newest(
    installation: Installation, context: FakeContext, skips: Callable[..., str], tmp_path: Path
) -> None:
    """A run's registering task failed, or its run was left; a newer run has registered a model; then it is cleared."""
    installation.publish_snapshot()
    installation.register_model(tmp_path / "old", "old", training_id="t-old")
    execute(plan(force=True), context)
    training_id, seen = context.ti.pushed["training_id"], context.ti.pushed["trainings"]
    assert seen == ["t-old"]
    result = installation.store.path("training", training_id, "model")
    result.mkdir(parents=True)
    late = load_manifest(installation.store, "old").model_copy(update={"version": "late", "training_id": training_id})
    installation.store.write_json(late.model_dump(mode="json"), "training", training_id, "model", MANIFEST)
    installation.register_model(tmp_path / "newer", "newer", training_id="t-newer")

    cleared = FakeContext()
    reason = skips(registering(training_id, seen, {}), cleared)
    newest = newest_trained(installation.store)
    assert newest is not None
    assert newest.version == "newer"
    assert not installation.store.exists("models", "late")
    assert "since its run started, t-newer was" in reason
    assert not cleared.announced(RETRIEVER)

    # What the run saw does not count as newer, nor does its own model.
    both = [*seen, "t-newer"]
    assert execute(registering(training_id, both, {}), context) == "late"
    assert execute(registering(training_id, both, {}), context) == "late"


@pytest.mark.parametrize(("eval_queries", "told"), [(29, False), (30, True)])
def test_in_batch_metrics_of_a_handful_of_queries_are_not_told(
    installation: Installation, context: FakeContext, tmp_path: Path, eval_queries: int, told: bool
) -> None:
    installation.publish_snapshot()
    installation.register_model(tmp_path / "old", "old", training_id="t-old")
    execute(plan(force=True), context)
    training_id = context.ti.pushed["training_id"]
    result = installation.store.path("training", training_id, "model")
    result.mkdir(parents=True)
    figures = {"before": {"MRR@5": 1.0}, "after": {"MRR@5": 1.0}}
    trained = load_manifest(installation.store, "old").model_copy(
        update={"version": "new", "training_id": training_id, "metrics": figures, "eval_queries": eval_queries}
    )
    installation.store.write_json(trained.model_dump(mode="json"), "training", training_id, "model", MANIFEST)
    shown = figures if told else {}

    tune = FineTuneOperator(task_id="fine_tune", training_id=training_id)
    assert execute(tune, context) == shown
    execute(registering(training_id, ["t-old"], {}), context)

    assert context.announced(RETRIEVER)["metrics"] == shown
    assert context.announced(RETRIEVER)["pairs"] == trained.pairs


@pytest.mark.parametrize(
    ("operator", "more"),
    [
        (GenerateQueriesOperator, ()),
        (BuildPairsOperator, ()),
        (ValidateQueriesOperator, ("run_name",)),
        (RoundTripOperator, ()),
        (FineTuneOperator, ()),
        (RegisterModelOperator, ("trainings", "device_usage")),
    ],
)
def test_what_differs_between_runs_can_be_templated(operator: Any, more: tuple[str, ...]) -> None:
    assert tuple(operator.template_fields) == ("training_id", *more)
    assert tuple(PlanTrainingOperator.template_fields) == ("force",)
