"""What a plan will cost: vectors to embed, write and delete, and the time, judging by earlier plans."""

from __future__ import annotations

import math

import polars as pl
from pydantic import BaseModel

from include.episodes import snapshot
from include.index.plan import Plan, ids_to_upsert, read_seconds, read_vectors
from include.retriever.encode import EmbeddingCache, shard_part
from include.storage import ArtifactStore

FILE = "timings.json"
ENCODING, WRITING = "encode_shard", "upsert_shard"
"""The steps whose time depends on the number of vectors: names of tasks."""
KEPT = 400
"""How many plans' timings are kept: more than a year of nightly ones, so that the last full build is among them."""


class Timing(BaseModel):
    """How long the steps of a plan that went live took."""

    plan_id: str
    seconds: dict[str, float]
    vectors: dict[str, int]


class Cost(BaseModel):
    """What a plan will cost."""

    embed: int
    """Texts that no run has embedded with the model yet."""
    write: int
    delete: int
    seconds: float | None
    """Time for embedding and writing; None if nothing similar has been measured yet."""

    def __str__(self) -> str:
        vectors = f"{self.embed:,} vectors to embed, {self.write:,} to write, {self.delete:,} to delete"
        return f"{vectors}; time: {in_minutes(self.seconds)}"


def estimate(store: ArtifactStore, plan: Plan) -> Cost:
    """What a plan will cost.

    Each step is scaled from the earlier plan that is nearest in size: a large build is not judged by a small one, whose
    time is mostly spent opening the model.
    """
    embed, write = _to_embed(store, plan), plan.added + plan.changed
    timings = read_timings(store)
    parts = [_seconds(timings, ENCODING, embed), _seconds(timings, WRITING, write)]
    known = [part for part in parts if part is not None]
    seconds = sum(known) if len(known) == len(parts) else None
    return Cost(embed=embed, write=write, delete=plan.removed, seconds=seconds)


def keep_timing(store: ArtifactStore, plan: Plan) -> None:
    """Record what a plan took, for later estimates."""
    timing = Timing(
        plan_id=plan.plan_id, seconds=read_seconds(store, plan.plan_id), vectors=read_vectors(store, plan.plan_id)
    )
    others = [item for item in read_timings(store) if item.plan_id != plan.plan_id]
    store.write_json([item.model_dump() for item in [*others, timing][-KEPT:]], FILE)


def read_timings(store: ArtifactStore) -> list[Timing]:
    """What earlier plans took, the last one last."""
    return [Timing.model_validate(item) for item in store.read_json_if_there(FILE) or []]


def in_minutes(seconds: float | None) -> str:
    """A rough time for people: ``less than a minute``, ``about 12 minutes``, ``unknown``."""
    if seconds is None:
        return "unknown, because no plan has been measured yet"
    minutes = round(seconds / 60)
    return f"about {minutes:,} minute{'s' if minutes > 1 else ''}" if minutes else "less than a minute"


def _seconds(timings: list[Timing], step: str, vectors: int) -> float | None:
    """How long a step takes for this many vectors; None if it has never been measured."""
    measured = [(item.vectors[step], item.seconds[step]) for item in timings if item.vectors.get(step)]
    if not vectors:
        return 0.0
    if not measured:
        return None
    number, seconds = min(measured, key=lambda item: abs(math.log(item[0] / vectors)))
    return seconds * vectors / number


def _to_embed(store: ArtifactStore, plan: Plan) -> int:
    found = 0
    columns = ["episode_id", "content_hash"]
    for shard, table in snapshot.read_shards(store, plan.snapshot_id, columns=columns, shards=plan.shards):
        ids = ids_to_upsert(store, plan, shard)
        hashes = pl.Series(table["content_hash"]).filter(pl.Series(table["episode_id"]).is_in(ids.implode()))
        found += len(EmbeddingCache(store, plan.model_version, shard_part(shard)).missing(set(hashes)))
    return found
