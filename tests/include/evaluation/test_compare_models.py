from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from include.evaluation.compare_models import ModelDifference, UnknownModelError, compare_models, find_model
from include.evaluation.metrics import summarise
from include.evaluation.run import FOLDER, EvaluationPlan
from include.index.live import activate
from include.retriever.manifest import ModelManifest
from include.retriever.registry import model_folder
from include.storage import MANIFEST, ArtifactStore
from tests.include.episodes.catalogue import episode, publish

MakeResults = Callable[..., pa.Table]
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """Models a and b, b a day younger."""
    store = ArtifactStore(tmp_path)
    register(store, "a", recipe={"epochs": 1, "learning_rate": 2e-5}, pairs={"title": 5}, training_id="t1")
    register(
        store,
        "b",
        recipe={"epochs": 2, "learning_rate": 2e-5, "keep_best": True, "matryoshka": [64, 32]},
        data={"source_version": "v2", "pairs": {"train": {"title": 1500, "log:app": 3}}, "languages": {"English": 9}},
        metrics={"before": {"MRR@5": 0.25}, "after": {"MRR@5": 0.5}},
        device_usage={"device": "cuda", "names": ["H100"], "gpu_seconds": 12.5, "fallback": False},
        license="apache-2.0",
        training_id="t2",
        registered_at=START + timedelta(days=1),
    )
    return store


def register(store: ArtifactStore, version: str, **changes: object) -> None:
    values = {
        "version": version,
        "kind": "fine-tuned",
        "base_model": "tiny",
        "dimension": 8,
        "max_seq_length": 96,
        "registered_at": START,
    }
    manifest = ModelManifest.model_validate(values | changes)
    store.write_json(manifest.model_dump(mode="json"), *model_folder(version), MANIFEST)


def evaluate(
    store: ArtifactStore,
    evaluation_id: str,
    results: dict[str, dict[str, pa.Table]],
    *,
    snapshot_id: str = "s",
    training_id: str | None = "t1",
    judged: dict[str, float] | None = None,
) -> None:
    """Store the results of an evaluation, by model and query set.

    :param judged: the share of curated queries' results that were judged, by model.
    """
    plan = EvaluationPlan(
        evaluation_id=evaluation_id,
        snapshot_id=snapshot_id,
        training_id=training_id,
        catalogue=200,
        test_queries=3,
        curated_queries=3,
        curated_left_out=0,
        seed=1,
    )
    store.write_json(plan.model_dump(), FOLDER, evaluation_id, MANIFEST)
    for version, tables in results.items():
        summaries = [summarise(table, model_version=version, catalogue=200) for table in tables.values()]
        for summary in summaries:
            summary.judged = (judged or {}).get(version) if summary.query_set == "curated" else None
        for name, table in tables.items():
            store.write_table(table, FOLDER, evaluation_id, version, f"{name}.parquet")
        content = {"evaluations": [summary.model_dump() for summary in summaries]}
        store.write_json(content, FOLDER, evaluation_id, version, MANIFEST)


def go_live(store: ArtifactStore, version: str) -> None:
    activate(
        store,
        backend="lancedb",
        index="i",
        namespace=version,
        model_version=version,
        snapshot_id="s",
        metrics={},
        report=None,
    )


def differing(found: ModelDifference) -> dict[str, tuple[str, str]]:
    return {
        f"{section}/{row.name}": (row.first, row.second)
        for section, rows in found.sections.items()
        for row in rows
        if row.differs
    }


def test_what_went_in_is_set_side_by_side(store: ArtifactStore) -> None:
    go_live(store, "a")
    found = differing(compare_models(store, "a", "b"))
    assert found == {
        "Model/licence": ("not stated", "apache-2.0"),
        "Model/registered": ("2026-01-01 00:00 UTC", "2026-01-02 00:00 UTC"),
        "Model/serves": ("live", "–"),
        "Recipe/epochs": ("1", "2"),
        "Recipe/keep_best": ("–", "yes"),
        "Recipe/matryoshka": ("–", "64, 32"),
        "Data/training": ("t1", "t2"),
        "Data/source_version": ("–", "v2"),
        "Data/pairs: train: title": ("–", "1,500"),
        "Data/pairs: train: log:app": ("–", "3"),
        "Data/languages: English": ("–", "9"),
        "Pairs/title": ("5", "–"),
        "In-batch metrics/before: MRR@5": ("–", "0.25"),
        "In-batch metrics/after: MRR@5": ("–", "0.5"),
        "Training/device: device": ("–", "cuda"),
        "Training/device: names": ("–", "H100"),
        "Training/device: gpu_seconds": ("–", "12.5"),
        "Training/device: fallback": ("–", "no"),
    }


def test_a_version_does_not_differ_from_itself(store: ArtifactStore) -> None:
    assert differing(compare_models(store, "b", "b")) == {}


def test_metrics_are_compared_query_by_query(store: ArtifactStore, make_results: MakeResults) -> None:
    low, high = make_results([40] * 20), make_results([2] * 20)
    curated = make_results([1, 2, 3], name="curated")
    evaluate(store, "e1", {"a": {"test": low, "curated": curated}, "b": {"test": high, "curated": curated}})
    found = compare_models(store, "a", "b")
    test, same = found.measured
    assert (test.query_set, test.queries, test.catalogue) == ("test", 20, 200)
    assert (test.first["recall@30"].mean, test.second["recall@30"].mean) == (0.0, 1.0)
    assert (test.differences["recall@30"].mean, test.differences["recall@30"].low) == (1.0, 1.0)
    assert test.differences["mrr@30"].mean == pytest.approx(0.5)
    assert same.differences["mrr@30"].mean == 0
    assert compare_models(store, "b", "a").measured[0].differences["recall@30"].mean == -1.0


def test_only_an_evaluation_of_both_counts(store: ArtifactStore, make_results: MakeResults) -> None:
    table = make_results([1, 2, 3])
    evaluate(store, "e1", {"a": {"test": table}})
    evaluate(store, "e2", {"b": {"test": table}})
    assert compare_models(store, "a", "b").measured == []
    assert compare_models(store, "a", "b").evaluation is None


def test_the_newest_evaluation_is_the_one_that_is_shown(store: ArtifactStore, make_results: MakeResults) -> None:
    """By the time of its snapshot, and on one snapshot by that of the training whose test queries it asks."""
    table = make_results([1, 2, 3])
    both = {"a": {"test": table}, "b": {"test": table}}
    old = publish(store, [episode(1)], source="v1").snapshot_id
    new = publish(store, [episode(1)], source="v2").snapshot_id
    evaluate(store, "z", both, snapshot_id=old, training_id="t2")
    evaluate(store, "y", both, snapshot_id=new, training_id="t1")
    evaluate(store, "x", both, snapshot_id=new, training_id="t2")
    evaluate(store, "zz", both, snapshot_id="removed", training_id="t2")
    found = compare_models(store, "a", "b").evaluation
    assert found is not None
    assert found.evaluation_id == "x"


def test_versions_can_be_named_by_what_they_are(store: ArtifactStore) -> None:
    go_live(store, "b")
    go_live(store, "a")
    assert [find_model(store, name).version for name in ("live", "previous", "newest")] == ["a", "b", "b"]


def test_an_unknown_version_is_answered_with_those_there_are(store: ArtifactStore) -> None:
    with pytest.raises(UnknownModelError, match=r"no model 'c'.*Registered models: b, a \(and newest\)"):
        compare_models(store, "a", "c")
    with pytest.raises(UnknownModelError, match="no model 'live'"):
        compare_models(store, "live", "a")


def test_before_anything_is_registered_it_says_what_registers(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="none yet: train_retriever"):
        find_model(ArtifactStore(tmp_path / "empty"), "a")
