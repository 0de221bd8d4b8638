from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.episodes import snapshot
from include.episodes.schema import EPISODES, compose_text, content_hash
from include.queries import contract
from include.retriever import training
from include.retriever.recipe import Recipe
from include.retriever.registry import ModelManifest, load_manifest, newest_trained, open_model
from include.retriever.training import (
    FOLDER,
    TrainingPlan,
    generate_queries,
    load_plan,
    plan_training,
    read_pairs,
    register_trained,
    train,
    why_due,
    write_pairs,
)
from include.storage import ArtifactStore
from tests.models import DIMENSION, TOPICS

RECIPE = Recipe(batch_size=16, learning_rate=1e-3, seed=5)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store" if request.param == "disk" else f"memory://{tmp_path.name}")


def publish_snapshot(store: ArtifactStore, *, episodes: int = 90, source_version: str = "v1") -> None:
    """A catalogue of six shows in four shards; each description is of its own words."""
    subjects, rows = sorted(TOPICS), []
    for number in range(episodes):
        topic = subjects[number % len(subjects)]
        words = TOPICS[topic]
        own = "".join(chr(ord("a") + int(digit)) for digit in f"{number:03d}")
        title = f"Ep. {number} – The {words[number % 6]} of {own}"
        description = (
            f"A {words[(number + 1) % 6]} called {own} is lost again. Nobody knows what {own} would do with a "
            f"{words[(number + 2) % 6]}, and so we walk there with everything we have and ask around."
        )
        show = f"Show {number % 6}"
        text = compose_text(title, description, show, None)
        rows.append(
            {
                "episode_id": f"e{number:03d}",
                "podcast_id": f"p{number % 6}",
                "title": title,
                "description": description,
                "show_title": show,
                "language": "English",
                "text": text,
                "content_hash": content_hash(text),
            }
        )
    table = pa.Table.from_pylist(rows, schema=EPISODES)
    written = snapshot.write(store, table, source_version=source_version, shards=4, counts={}, quarantined={})
    snapshot.publish(store, written.snapshot_id)


def plan(store: ArtifactStore, **changes: Any) -> TrainingPlan:
    values: dict[str, Any] = {
        "generator": "extractive",
        "queries_per_episode": 3,
        "max_episodes": 5000,
        "train_share": 0.6,
        "eval_share": 0.1,
        "base_model": "tiny",
        "recipe": RECIPE,
    }
    return plan_training(store, **(values | changes))


def generate_all(store: ArtifactStore, planned: TrainingPlan) -> int:
    return sum(generate_queries(store, planned, shard) for shard in planned.shards)


def test_the_same_plan_is_the_same_training(store: ArtifactStore) -> None:
    publish_snapshot(store)
    first = plan(store)
    assert plan(store) == first == load_plan(store, first.training_id)
    assert sum(len(snapshot.read(store, first.snapshot_id, shards=[shard])) for shard in first.shards) == 90


@pytest.mark.parametrize(
    "change",
    [
        {"queries_per_episode": 4},
        {"max_episodes": 50},
        {"train_share": 0.7},
        {"eval_share": 0.2},
        {"base_model": "other"},
        *({"recipe": RECIPE.model_copy(update=change)} for change in (
            {"epochs": 2}, {"batch_size": 8}, {"learning_rate": 1e-4}, {"warmup_share": 0.2},
            {"max_seq_length": 64}, {"seed": 6},
        )),
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
    monkeypatch.setattr(training, "PLAN_VERSION", training.PLAN_VERSION + 1)
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
        ({}, "other", "base model or the recipe changed"),
        ({"recipe": RECIPE.model_copy(update={"epochs": 2}).model_dump()}, "tiny", "recipe changed"),
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


def test_queries_of_a_shard_are_written_once(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_snapshot(store)
    planned = plan(store)
    first = generate_all(store, planned)
    assert 180 <= first <= 270
    monkeypatch.setattr(training, "create_generator", lambda _: pytest.fail("it was generated again"))
    assert generate_all(store, planned) == first


def test_a_retried_shard_ends_in_the_same_queries(store: ArtifactStore) -> None:
    publish_snapshot(store)
    planned = plan(store)
    shard = planned.shards[0]
    name = (FOLDER, planned.training_id, "queries", f"shard-{shard:04d}.parquet")
    generate_queries(store, planned, shard)
    first = store.read_table(*name)
    store.remove(*name)
    generate_queries(store, planned, shard)
    assert store.read_table(*name).equals(first)


def test_a_larger_sample_holds_the_smaller_one(store: ArtifactStore) -> None:
    publish_snapshot(store)
    drawn = []
    for most in (20, 45, 90):
        planned = plan(store, max_episodes=most)
        generate_all(store, planned)
        write_pairs(store, planned, held_out=set())
        drawn.append(set(read_pairs(store, planned.training_id)["episode_id"].to_pylist()))
    assert drawn[0] < drawn[1] < drawn[2]
    assert len(drawn[0]) == pytest.approx(20, abs=12)
    assert len(drawn[2]) == 90


def test_pairs_are_split_by_episode_and_can_be_written_again(store: ArtifactStore) -> None:
    publish_snapshot(store)
    planned = plan(store)
    generate_all(store, planned)
    held_out = {f"e{number:03d}" for number in range(10)}
    summary = write_pairs(store, planned, held_out=held_out)
    pairs = read_pairs(store, planned.training_id)
    splits: dict[str, set[str]] = {}
    for row in pairs.to_pylist():
        splits.setdefault(row["episode_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert all(splits[key] == {"test"} for key in held_out)
    assert summary.pairs == len(pairs) == sum(summary.by_split.values()) == sum(summary.by_origin.values())
    assert set(summary.by_split) == {"train", "eval", "test"}
    assert write_pairs(store, planned, held_out=held_out) == summary
    assert read_pairs(store, planned.training_id).equals(pairs)


def test_pairs_wait_for_every_shard(store: ArtifactStore) -> None:
    """Pairs of some shards only would train a model that looks like the planned one."""
    publish_snapshot(store)
    planned = plan(store)
    generate_queries(store, planned, planned.shards[0])
    with pytest.raises(FileNotFoundError):
        write_pairs(store, planned, held_out=set())


def test_from_snapshot_to_registered_model(
    store: ArtifactStore, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, and every step of it once more, as after a cleared task: nothing changes, nothing is redone."""
    publish_snapshot(store)
    planned = plan(store, base_model=str(model_folder))
    generate_all(store, planned)
    write_pairs(store, planned, held_out=set())
    work = tmp_path / "work"
    trained = train(store, planned, device="cpu", work_root=work)
    assert newest_trained(store) is None, "a model goes into the registry in a step of its own"
    registered = register_trained(store, planned, work_root=work)
    assert registered == trained == newest_trained(store) == load_manifest(store, trained.version)
    assert not (work / planned.training_id).exists()
    assert open_model(store, trained.version, "cpu").encode("sleep").shape == (DIMENSION,)
    assert why_due(store, base_model=str(model_folder), recipe=RECIPE, retrain_after_days=30) is None

    monkeypatch.setattr("include.retriever.finetune.fine_tune", lambda *_, **__: pytest.fail("it was trained again"))
    before = store.read_bytes("models", trained.version, "model.safetensors")
    assert plan(store, base_model=str(model_folder)) == planned
    assert train(store, planned, device="cpu", work_root=work) == trained
    assert register_trained(store, planned, work_root=work) == registered
    assert store.read_bytes("models", trained.version, "model.safetensors") == before


def test_an_unknown_generator_is_refused_by_name(store: ArtifactStore) -> None:
    publish_snapshot(store)
    planned = plan(store, generator="gpt")
    with pytest.raises(ValueError, match="PODSEARCH_QUERY_GENERATOR"):
        generate_queries(store, planned, planned.shards[0])
    assert contract.create_generator("extractive")
