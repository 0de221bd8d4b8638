from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.episodes import snapshot
from include.feedback.pairs import Pair, RecordedPairs
from include.queries.contract import GeneratorSpec
from include.retriever.manifest import ModelManifest
from include.retriever.training import plan as module
from include.retriever.training.plan import load_plan, why_due
from include.retriever.training.queries import shard_passages
from include.storage import ArtifactStore
from tests.include.retriever.training.workshop import RECIPE, plan, publish_snapshot
from tests.models import DIMENSION

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def test_the_same_plan_is_the_same_training(store: ArtifactStore) -> None:
    publish_snapshot(store)
    first = plan(store)
    assert plan(store) == first == load_plan(store, first.training_id)
    drawn = [passage.episode_id for shard in first.query_shards for passage in shard_passages(store, first, shard)]
    assert len(drawn) == len(set(drawn)) == 90


@pytest.mark.parametrize(
    "change",
    [
        {"queries_per_episode": 4},
        {"round_trip": 5},
        {"query_shard_episodes": 10},
        *({"generator": GeneratorSpec(**change)} for change in (
            {"name": "doc2query"}, {"name": "doc2query", "revision": "abc"}, {"name": "doc2query", "top_p": 0.9},
        )),
        {"max_episodes": 50},
        {"train_share": 0.7},
        {"eval_share": 0.2},
        {"base_model": "other"},
        {"epochs": 2},
        {"batch_size": 8},
        {"learning_rate": 1e-4},
        {"warmup_share": 0.2},
        {"max_seq_length": 64},
        {"seed": 6},
    ],
    ids=str,
)  # fmt: skip
def test_another_setting_is_another_training(tmp_path: Path, change: dict[str, Any]) -> None:
    """Otherwise it would go on from the checkpoints, or stop at the model, of the one before."""
    store = ArtifactStore(tmp_path)
    publish_snapshot(store, episodes=60)
    assert plan(store, **change).training_id != plan(store).training_id


def test_another_snapshot_is_another_training(store: ArtifactStore) -> None:
    publish_snapshot(store)
    first = plan(store)
    publish_snapshot(store, episodes=91, source_version="v2")
    assert plan(store).training_id != first.training_id


def test_another_version_of_the_steps_is_another_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries that an older generator wrote are not taken for those of the newer one."""
    store = ArtifactStore(tmp_path)
    publish_snapshot(store, episodes=60)
    first = plan(store)
    monkeypatch.setattr(module, "PLAN_VERSION", module.PLAN_VERSION + 1)
    assert plan(store).training_id != first.training_id


def test_without_a_snapshot_there_is_nothing_to_plan(store: ArtifactStore) -> None:
    with pytest.raises(FileNotFoundError, match="ingest_episodes"):
        plan(store)


@pytest.mark.parametrize(
    ("changes", "base", "due"),
    [
        ({}, "tiny", None),
        ({"registered_at": NOW - timedelta(days=29, hours=23)}, "tiny", None),
        ({"registered_at": NOW - timedelta(days=30)}, "tiny", "30 days old"),
        ({"registered_at": NOW + timedelta(hours=1)}, "tiny", None),  # a clock that is a little behind
        ({}, "other", "base model or the recipe has changed"),
        ({"recipe": RECIPE.model_copy(update={"epochs": 2}).model_dump()}, "tiny", "recipe has changed"),
        ({"kind": "base"}, "tiny", "no model was trained yet"),
    ],
)
def test_why_a_model_is_due(store: ArtifactStore, changes: dict[str, Any], base: str, due: str | None) -> None:
    values = {
        "version": "tiny-tuned-1",
        "kind": "fine-tuned",
        "base_model": "tiny",
        "dimension": DIMENSION,
        "max_seq_length": 96,
        "registered_at": NOW - timedelta(days=1),
        "recipe": RECIPE.model_dump(),
    }
    newest = ModelManifest.model_validate(values | changes)
    assert why_due(store, base_model=base, recipe=RECIPE, retrain_after_days=30, now=NOW) == "no model was trained yet"
    store.write_json(newest.model_dump(mode="json"), "models", newest.version, "manifest.json")
    reason = why_due(store, base_model=base, recipe=RECIPE, retrain_after_days=30, now=NOW)
    assert due in reason if due and reason else reason == due


def test_a_shard_is_cut_into_parts_of_about_the_wanted_size(store: ArtifactStore) -> None:
    """Tasks are minutes of work each, whatever the size of the catalogue, and no episode is left out or met twice."""
    publish_snapshot(store, episodes=240)
    whole, cut = plan(store), plan(store, query_shard_episodes=20)
    assert {shard.parts for shard in whole.query_shards} == {1}
    sizes = [len(shard_passages(store, cut, shard)) for shard in cut.query_shards]
    assert sum(sizes) == 240
    assert max(sizes) <= 40
    assert len({shard.name for shard in cut.query_shards}) == len(cut.query_shards) >= 12


def test_airflow_can_map_a_task_over_the_shards_of_any_catalogue(store: ArtifactStore) -> None:
    publish_snapshot(store, episodes=60)
    manifest = snapshot.latest(store)
    assert manifest
    parts = [part.model_copy(update={"rows": 500_000}) for part in manifest.parts]
    huge = manifest.model_copy(update={"parts": parts, "episodes": 500_000 * len(parts)})
    assert 900 < len(module._query_shards(huge, 1.0, 1)) <= 1024


def test_recorded_plays_are_kept_with_the_plan_and_make_it_another(store: ArtifactStore) -> None:
    publish_snapshot(store)
    pair = Pair("lost thing", "e001", 1, "searched")
    training, apart = plan(store, recorded=RecordedPairs([pair], [])), plan(store, recorded=RecordedPairs([], [pair]))
    assert len({training.training_id, apart.training_id, plan(store).training_id}) == 3
    assert b"lost thing" in store.read_bytes("training", training.training_id, "recorded.csv")
    assert plan(store, recorded=RecordedPairs([], [])).training_id == plan(store).training_id


def test_search_logs_are_kept_as_they_were_when_the_training_was_planned(store: ArtifactStore, tmp_path: Path) -> None:
    """Every task reads the same, on whichever worker; other logs are another training."""
    publish_snapshot(store)
    logs = tmp_path / "logs.csv"
    logs.write_text("query,episode_id\nlost thing,e001\n")
    planned = plan(store, search_logs=logs)
    logs.write_text("query,episode_id\nlost thing,e002\n")
    assert store.read_bytes("training", planned.training_id, "search_logs.csv").endswith(b"e001\n")
    assert plan(store, search_logs=logs).training_id != planned.training_id != plan(store).training_id
