"""The steps of a training, from a published snapshot to a registered model. Each can be killed and repeated."""

from __future__ import annotations

import hashlib
import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel

from include.episodes import snapshot
from include.queries.contract import Passage, Query, create_generator
from include.queries.filtering import filter_queries
from include.retriever.pairs import PAIRS, build_pairs, count_by
from include.retriever.recipe import Recipe
from include.retriever.registry import ModelManifest, ensure_base, newest_trained, open_model, register
from include.storage import MANIFEST, ArtifactStore, digest

log = logging.getLogger(__name__)

FOLDER = "training"
PLAN_VERSION = 1
"""Raise it when a step changes what it writes, so that an unchanged plan is trained anew."""
PASSAGE_COLUMNS = ["episode_id", "title", "description", "show_title", "show_description", "language"]


class TrainingPlan(BaseModel):
    """What a training starts from; its name follows from it, so that a repeated plan is the same training."""

    training_id: str
    version: int
    snapshot_id: str
    shards: list[int]
    generator: str
    queries_per_episode: int
    sampled_share: float
    """Share of the catalogue that queries are written for."""
    train_share: float
    eval_share: float
    base_model: str
    recipe: Recipe


class PairsSummary(BaseModel):
    """What became of the generated queries."""

    pairs: int
    by_split: dict[str, int]
    by_origin: dict[str, int]
    dropped: dict[str, int]


def why_due(
    store: ArtifactStore, *, base_model: str, recipe: Recipe, retrain_after_days: int, now: datetime | None = None
) -> str | None:
    """Why a model should be trained now; None if the newest one will do."""
    newest = newest_trained(store)
    if newest is None:
        return "no model was trained yet"
    if newest.base_model != base_model or newest.recipe != recipe.model_dump():
        return f"the base model or the recipe changed since {newest.version}"
    age = (now or datetime.now(UTC)) - newest.registered_at
    if age >= timedelta(days=retrain_after_days):
        return f"{newest.version} is {age.days} days old (PODSEARCH_RETRAIN_AFTER_DAYS={retrain_after_days})"
    return None


def plan_training(
    store: ArtifactStore,
    *,
    generator: str,
    queries_per_episode: int,
    max_episodes: int,
    train_share: float,
    eval_share: float,
    base_model: str,
    recipe: Recipe,
) -> TrainingPlan:
    """Name a training on the latest snapshot.

    :raises FileNotFoundError: no snapshot was published.
    """
    latest = snapshot.latest(store)
    if latest is None:
        raise FileNotFoundError("No snapshot was published yet: run ingest_episodes first.")
    plan = TrainingPlan(
        training_id="",
        version=PLAN_VERSION,
        snapshot_id=latest.snapshot_id,
        shards=[part.shard for part in latest.parts if part.rows],
        generator=generator,
        queries_per_episode=queries_per_episode,
        sampled_share=min(1.0, max_episodes / max(latest.episodes, 1)),
        train_share=train_share,
        eval_share=eval_share,
        base_model=base_model,
        recipe=recipe,
    )
    plan.training_id = digest(plan.model_dump_json())
    store.write_json(plan.model_dump(), FOLDER, plan.training_id, "plan.json")
    return plan


def load_plan(store: ArtifactStore, training_id: str) -> TrainingPlan:
    return TrainingPlan.model_validate(store.read_json(FOLDER, training_id, "plan.json"))


def generate_queries(store: ArtifactStore, plan: TrainingPlan, shard: int) -> int:
    """Write the queries of a shard's sampled episodes; how many. A shard that is there already is left alone."""
    target = (FOLDER, plan.training_id, "queries", f"shard-{shard:04d}.parquet")
    if store.exists(*target):
        return len(store.read_table(*target, columns=["query"]))
    passages = [passage for passage in _passages(store, plan, shard) if _sampled(passage, plan)]
    queries = create_generator(plan.generator).generate(passages, plan.queries_per_episode, plan.recipe.seed)
    rows = [
        {"episode_id": passage.episode_id, "query": query.text, "origin": query.origin, "positive": query.positive}
        for passage, own in zip(passages, queries, strict=True)
        for query in own
    ]
    columns = ["episode_id", "query", "origin", "positive"]
    schema = pa.schema([(name, pa.string()) for name in columns])
    store.write_table(pa.Table.from_pylist(rows, schema=schema), *target)
    log.info("Shard %d: %d queries for %d episodes.", shard, len(rows), len(passages))
    return len(rows)


def write_pairs(store: ArtifactStore, plan: TrainingPlan, *, held_out: set[str]) -> PairsSummary:
    """Filter the queries of all shards, split them by episode, and write the pairs.

    :param held_out: episodes that answer curated queries, which are only tested on.
    """
    passages: list[Passage] = []
    queries: list[list[Query]] = []
    for shard in plan.shards:
        own = _read_queries(store, plan, shard)
        for passage in _passages(store, plan, shard):
            if passage.episode_id in own:
                passages.append(passage)
                queries.append(own[passage.episode_id])
    kept, dropped = filter_queries(queries)
    pairs = build_pairs(passages, kept, train_share=plan.train_share, eval_share=plan.eval_share, held_out=held_out)
    store.write_table(pairs, FOLDER, plan.training_id, "pairs.parquet")
    summary = PairsSummary(
        pairs=len(pairs),
        by_split=count_by(pairs, "split"),
        by_origin=count_by(pairs, "origin"),
        dropped=dict(dropped),
    )
    store.write_json(summary.model_dump(), FOLDER, plan.training_id, "pairs.json")
    log.info("%d pairs %s; dropped %s.", summary.pairs, summary.by_split, summary.dropped)
    return summary


def read_pairs(store: ArtifactStore, training_id: str) -> pa.Table:
    return store.read_table(FOLDER, training_id, "pairs.parquet").cast(PAIRS)


def train(store: ArtifactStore, plan: TrainingPlan, *, device: str, work_root: Path) -> ModelManifest:
    """Fine-tune the base model on the pairs, and put the result beside them until :func:`register_trained`.

    What is trained already is not trained again.

    :param work_root: holds checkpoints, from which a killed training goes on.
    """
    from include.retriever.finetune import fine_tune

    result = (FOLDER, plan.training_id, "model")
    if store.is_complete(*result):
        return ModelManifest.model_validate(store.read_json(*result, MANIFEST))
    base = ensure_base(store, plan.base_model, device)
    model = open_model(store, base.version, device)
    folder, manifest = fine_tune(
        model,
        read_pairs(store, plan.training_id),
        base=base,
        training_id=plan.training_id,
        snapshot_id=plan.snapshot_id,
        recipe=plan.recipe,
        work=work_root / plan.training_id,
    )
    # The registry is told in a task of its own, but weights must not depend on which worker runs it.
    ArtifactStore(folder).write_json(manifest.model_dump(mode="json"), MANIFEST)
    store.publish_directory(folder, *result)
    return manifest


def register_trained(store: ArtifactStore, plan: TrainingPlan, *, work_root: Path) -> ModelManifest:
    """Put the trained model into the registry, and drop what training left behind."""
    with store.local_copy(FOLDER, plan.training_id, "model") as folder:
        manifest = ModelManifest.model_validate_json((folder / MANIFEST).read_bytes())
        registered = register(store, folder, manifest)
    shutil.rmtree(work_root / plan.training_id, ignore_errors=True)
    return registered


def _passages(store: ArtifactStore, plan: TrainingPlan, shard: int) -> list[Passage]:
    table = snapshot.read(store, plan.snapshot_id, columns=PASSAGE_COLUMNS, shards=[shard])
    return [Passage(**row) for row in table.to_pylist()]


def _sampled(passage: Passage, plan: TrainingPlan) -> bool:
    """A stable draw: an episode that is in a sample of some share is in every larger one."""
    hashed = hashlib.sha256(f"{plan.recipe.seed}:sample:{passage.episode_id}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") / 2**64 < plan.sampled_share


def _read_queries(store: ArtifactStore, plan: TrainingPlan, shard: int) -> dict[str, list[Query]]:
    table = store.read_table(FOLDER, plan.training_id, "queries", f"shard-{shard:04d}.parquet")
    queries: dict[str, list[Query]] = {}
    for row in table.to_pylist():
        queries.setdefault(row["episode_id"], []).append(Query(row["query"], row["origin"], row["positive"]))
    return queries
