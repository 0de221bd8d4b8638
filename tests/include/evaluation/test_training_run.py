from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.evaluation.training_run import training_run
from include.queries.samples import QuerySample
from include.retriever.manifest import ModelManifest
from include.storage import ArtifactStore

MODEL = ModelManifest(
    version="tiny-tuned-1",
    kind="fine-tuned",
    base_model="tiny",
    dimension=8,
    max_seq_length=96,
    registered_at=datetime(2026, 1, 1, tzinfo=UTC),
    training_id="t1",
    recipe={"epochs": 1, "keep_best": False, "matryoshka": [64, 32], "guide": "", "negatives": []},
    pairs={"title": 5},
    losses=[{"step": 1.0, "loss": 2.0}],
    device_usage={"device": "cuda", "names": ["H100"], "gpus": 1, "gpu_seconds": 9.0, "of_a_later_version": 1},
)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def test_what_became_of_the_queries_comes_from_the_training(store: ArtifactStore) -> None:
    sample = QuerySample(title="The tired nurse", query="why nurses cannot sleep", origin="doc2query")
    noted = {
        "pairs": 5,
        "dropped": {"repeated": 2},
        "round_trip": {"asked": 9, "dropped": 4},
        "samples": [sample.model_dump()],
    }
    store.write_json(noted, "training", "t1", "pairs.json")
    run = training_run(store, MODEL)
    assert run is not None
    assert run.queries_dropped == {"repeated": 2, "not_found": 4}
    assert run.samples == [sample]
    assert run.device is not None
    assert run.device.names == ["H100"]


def test_settings_that_are_off_are_left_out(store: ArtifactStore) -> None:
    run = training_run(store, MODEL)
    assert run is not None
    assert run.settings == {"epochs": 1, "keep_best": "no", "matryoshka": "64, 32"}


@pytest.mark.parametrize("noted", [None, {"pairs": 5, "by_split": {}, "dropped": {"repeated": 2}}])
def test_a_model_of_an_older_version_of_podsearch_is_still_reported(
    store: ArtifactStore, noted: dict[str, object] | None
) -> None:
    if noted:
        store.write_json(noted, "training", "t1", "pairs.json")
    run = training_run(store, MODEL.model_copy(update={"device_usage": {}}))
    assert run is not None
    assert (run.samples, run.device) == ([], None)
    assert run.pairs_by_origin == {"title": 5}
    assert run.losses == [(1, 2.0)]


@pytest.mark.parametrize(("queries", "drawn"), [(500, [(10, 0.5), (17, 0.75)]), (11, [])])
def test_what_was_measured_meanwhile_is_drawn_if_it_says_anything(
    store: ArtifactStore, queries: int, drawn: list[tuple[int, float]]
) -> None:
    measured = {
        "eval_queries": queries,
        "metrics": {"before": {"MRR@5": 0.4}, "after": {"MRR@5": 0.75}},
        "evaluations": [{"step": 10.0, "MRR@5": 0.5, "Recall@1": 0.2}, {"step": 17.0, "MRR@5": 0.75, "Recall@1": 0.3}],
    }
    run = training_run(store, MODEL.model_copy(update=measured))
    assert run is not None
    assert run.evaluations == drawn


def test_a_base_model_was_not_trained(store: ArtifactStore) -> None:
    assert training_run(store, MODEL.model_copy(update={"kind": "base"})) is None
