"""What a training starts from, and whether one is due."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path

from pydantic import BaseModel

from include.episodes import snapshot
from include.feedback.pairs import RecordedPairs, as_csv
from include.queries.contract import GeneratorSpec
from include.retriever.pairs import place
from include.retriever.recipe import Recipe
from include.retriever.registry import newest_trained
from include.storage import ArtifactStore, digest

FOLDER = "training"
PLAN_VERSION = 3
"""Raise it when a step changes what it writes, so that an unchanged plan is trained anew."""
MAX_QUERY_SHARDS = 1_000
"""Airflow maps a task over so many at most (``[core] max_map_length`` is 1,024)."""
LOGS_FILE = "search_logs.csv"
RECORDED_FILE = "recorded.csv"
"""Pairs that the search service has recorded, as search logs."""
HELD_OUT_FILE = "held_out.csv"
"""The same of its last days, to measure with."""


class QueryShard(BaseModel, frozen=True):
    """What one task writes queries for: the sampled episodes of a shard of the snapshot, or a part of them."""

    shard: int
    part: int
    parts: int

    @property
    def name(self) -> str:
        return f"shard-{self.shard:04d}-{self.part:04d}"

    def holds(self, episode_id: str) -> bool:
        """Whether an episode of the snapshot's shard belongs to this part of it."""
        return self.parts == 1 or place("part", episode_id) * self.parts // 1 == self.part


class TrainingPlan(BaseModel):
    """What a training starts from; its name follows from it, so that a repeated plan is the same training."""

    training_id: str
    version: int
    snapshot_id: str
    query_shards: list[QueryShard]
    generator: GeneratorSpec
    sampled_share: float
    """Share of the catalogue that queries are written for."""
    search_logs: str | None
    """SHA-256 of the search logs, which lie beside the plan; None without."""
    recorded: str | None = None
    """The same of what the search service has recorded."""
    base_model: str
    recipe: Recipe

    def samples(self, episode_id: str) -> bool:
        """Whether queries are written for an episode."""
        return self.draws(episode_id, "sample") < self.sampled_share

    def draws(self, episode_id: str, purpose: str) -> float:
        """A stable draw between 0 and 1: an episode that is in a sample of some share is in every larger one."""
        return place(f"{self.recipe.seed}:{purpose}", episode_id)


def why_due(
    store: ArtifactStore, *, base_model: str, recipe: Recipe, retrain_after_days: int, now: datetime | None = None
) -> str | None:
    """Why a model should be trained now; None if the newest one will do."""
    newest = newest_trained(store)
    if newest is None:
        return "no model was trained yet"
    if newest.base_model != base_model or Recipe.model_validate(newest.recipe) != recipe:
        return f"the base model or the recipe has changed since {newest.version}"
    age = (now or datetime.now(UTC)) - newest.registered_at
    if age >= timedelta(days=retrain_after_days):
        return f"{newest.version} is {age.days} days old (PODSEARCH_RETRAIN_AFTER_DAYS={retrain_after_days})"
    return None


def plan_training(
    store: ArtifactStore,
    *,
    generator: GeneratorSpec,
    search_logs: Path | None,
    recorded: RecordedPairs | None,
    base_model: str,
    recipe: Recipe,
) -> TrainingPlan:
    """Name a training on the latest snapshot.

    :param search_logs: kept as it is now beside the plan, so that every task reads the same.
    :param recorded: what the search service has recorded; it is kept likewise.
    :raises FileNotFoundError: no snapshot was published, or there are no such logs.
    """
    latest = snapshot.latest(store)
    if latest is None:
        raise FileNotFoundError("No snapshot has been published yet: run ingest_episodes first.")
    described = latest.episodes - latest.counts.get("without_description", 0)
    share = min(1.0, recipe.max_episodes / max(described, 1))
    files = {LOGS_FILE: search_logs.read_bytes()} if search_logs else {}
    if recorded and any(recorded):
        files |= {RECORDED_FILE: as_csv(recorded.training), HELD_OUT_FILE: as_csv(recorded.held_out)}
    plan = TrainingPlan(
        training_id="",
        version=PLAN_VERSION,
        snapshot_id=latest.snapshot_id,
        query_shards=_query_shards(latest, share, recipe.query_shard_episodes),
        generator=generator,
        sampled_share=share,
        search_logs=_sha256(files, LOGS_FILE),
        recorded=_sha256(files, RECORDED_FILE, HELD_OUT_FILE),
        base_model=base_model,
        recipe=recipe,
    )
    plan.training_id = digest(plan.model_dump_json())
    for name, content in files.items():
        store.write_bytes(content, FOLDER, plan.training_id, name)
    store.write_json(plan.model_dump(), FOLDER, plan.training_id, "plan.json")
    return plan


def load_plan(store: ArtifactStore, training_id: str) -> TrainingPlan:
    return TrainingPlan.model_validate(store.read_json(FOLDER, training_id, "plan.json"))


def _query_shards(catalogue: snapshot.Manifest, share: float, size: int) -> list[QueryShard]:
    """Parts of about ``size`` sampled episodes, none of which crosses a shard of the snapshot."""
    size = max(size, ceil(catalogue.episodes * share / (MAX_QUERY_SHARDS - catalogue.shards)))
    shards = []
    for part in catalogue.parts:
        if part.rows:
            parts = max(1, ceil(part.rows * share / size))
            shards += [QueryShard(shard=part.shard, part=number, parts=parts) for number in range(parts)]
    return shards


def _sha256(files: dict[str, bytes], *names: str) -> str | None:
    """Of some files together; None if they are not there."""
    return hashlib.sha256(b"\0".join(files[name] for name in names)).hexdigest() if names[0] in files else None
