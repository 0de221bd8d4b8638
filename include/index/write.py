"""Carrying a plan out: encode what is missing, upsert, delete, verify. Each step can be killed and repeated."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from include.episodes import snapshot
from include.index.contract import Metadata, Records, VectorIndex, Vectors
from include.index.plan import (
    Plan,
    begin_write,
    distrust,
    finish_write,
    forget,
    load_change,
    read_journal,
    require_current,
)
from include.retriever.encode import EmbeddingCache, shard_part
from include.retriever.encoders.contract import Encoder
from include.storage import ArtifactStore

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

UPSERT_BATCH = 2_000
SAMPLED_VECTORS = 200
REMEDY = "Run reindex_episodes again: it builds the namespace in full."


class VerificationError(RuntimeError):
    """The namespace does not hold what it should; search goes on with what was live before."""


class LostNamespaceError(RuntimeError):
    """The index does not have the namespace that the journal speaks of; planning again builds it in full."""


class Verification(BaseModel):
    """What was verified, and how the namespace is searched."""

    rows: int
    sampled: int
    kind: str
    queries: int = 0
    recall: float | None = None
    """Share of exact search's answers that the index gave to ``queries`` queries; None if none were asked."""


def texts_to_encode(store: ArtifactStore, plan: Plan, shard: int) -> dict[str, str]:
    """Texts of a shard that the plan writes and that no run has encoded before, by content hash."""
    episodes = _planned(store, plan, shard, ["episode_id", "text", "content_hash"])
    texts = dict(zip(episodes["content_hash"].to_pylist(), episodes["text"].to_pylist(), strict=True))
    missing = EmbeddingCache(store, plan.model_version, shard_part(shard)).missing(set(texts))
    return {key: texts[key] for key in missing}


def encode_shard(
    store: ArtifactStore,
    plan: Plan,
    shard: int,
    texts: Mapping[str, str],
    model: Encoder | SentenceTransformer,
    *,
    batch_size: int,
) -> int:
    """Encode texts of a shard into the cache; how many."""
    return EmbeddingCache(store, plan.model_version, shard_part(shard)).encode_missing(
        texts, model, batch_size=batch_size
    )


def prepare_namespace(store: ArtifactStore, index: VectorIndex, plan: Plan, dimension: int) -> None:
    """Make the namespace, and note that it is being written to.

    :raises LostNamespaceError: there is nothing there that a difference could be written to.
    """
    if plan.action != "full" and not (
        read_journal(store, plan.namespace).index == index.name and plan.namespace in index.namespaces()
    ):
        forget(store, plan.namespace)
        raise LostNamespaceError(
            f"{plan.namespace} is not in the index {index.name}, where a difference was to be written: "
            "plan again, and it is built in full."
        )
    index.create(plan.namespace, dimension)
    begin_write(store, plan, index.name)


def upsert_shard(store: ArtifactStore, index: VectorIndex, plan: Plan, shard: int) -> int:
    """Write the records of a shard that the plan names; how many.

    :raises OutdatedPlanError: the namespace was planned anew since.
    """
    require_current(store, plan)
    episodes = _planned(
        store, plan, shard, ["episode_id", "title", "show_title", "language", "published_at", "content_hash"]
    )
    cache = EmbeddingCache(store, plan.model_version, shard_part(shard))
    vectors = cache.vectors(episodes["content_hash"].to_pylist())
    written = index.upsert(plan.namespace, _batches(episodes, vectors, plan.model_version))
    log.info("Upserted %d records of shard %d into %s.", written, shard, plan.namespace)
    return written


def delete_withdrawn(store: ArtifactStore, index: VectorIndex, plan: Plan) -> int:
    """Delete what the snapshot does not have; how many.

    :raises OutdatedPlanError: the namespace was planned anew since.
    """
    require_current(store, plan)
    ids = load_change(store, plan.plan_id).delete
    if plan.action == "full":
        # An earlier, unfinished build may have left records of no known snapshot.
        wanted = snapshot.read(store, plan.snapshot_id, columns=["episode_id"])["episode_id"].to_pylist()
        ids = sorted(set(index.list_ids(plan.namespace)).difference(wanted))
    index.delete(plan.namespace, ids)
    log.info("Deleted %d withdrawn episodes from %s.", len(ids), plan.namespace)
    return len(ids)


def verify(store: ArtifactStore, index: VectorIndex, plan: Plan) -> Verification:
    """Hold the namespace against the snapshot: its ids exactly, and a sample of its vectors.

    :raises VerificationError: they differ; the next run then builds the namespace in full.
    :raises OutdatedPlanError: the namespace was planned anew since.
    """
    require_current(store, plan)
    info = index.finish(plan.namespace)
    ids = snapshot.read(store, plan.snapshot_id, columns=["episode_id"])["episode_id"].to_pylist()
    rows = random.Random(plan.plan_id).sample(range(len(ids)), min(SAMPLED_VECTORS, len(ids)))  # noqa: S311
    try:
        _verify_ids(index, plan.namespace, set(ids))
        sampled = _verify_vectors(store, index, plan, rows)
    except VerificationError:
        distrust(store, plan)
        raise
    finish_write(store, plan)
    log.info("Verified %s: %d records (%s), %d vectors compared.", plan.namespace, info.rows, info.kind, sampled)
    return Verification(rows=info.rows, sampled=sampled, kind=info.kind)


def _verify_ids(index: VectorIndex, namespace: str, wanted: set[str]) -> None:
    held = set(index.list_ids(namespace))
    if held != wanted or index.count(namespace) != len(wanted):
        missing, extra = sorted(wanted - held), sorted(held - wanted)
        raise VerificationError(
            f"{namespace} holds {index.count(namespace)} records in place of {len(wanted)}: {len(missing)} missing "
            f"({', '.join(missing[:3])}), {len(extra)} too many ({', '.join(extra[:3])}). {REMEDY}"
        )


def _verify_vectors(store: ArtifactStore, index: VectorIndex, plan: Plan, rows: list[int]) -> int:
    """Compare stored vectors with those that were encoded, shard by shard."""
    compared = 0
    total = 0
    for part in snapshot.load(store, plan.snapshot_id).parts:
        table = snapshot.read(store, plan.snapshot_id, columns=["episode_id", "content_hash"], shards=[part.shard])
        cache = EmbeddingCache(store, plan.model_version, shard_part(part.shard))
        if lost := cache.missing(set(table["content_hash"].to_pylist())):
            raise VerificationError(f"The embeddings of {len(lost)} texts are gone from the artifact store. {REMEDY}")
        own = table.take(pa.array([row - total for row in rows if total <= row < total + part.rows], pa.int64()))
        total += part.rows
        ids = own["episode_id"].to_pylist()
        stored = index.fetch(plan.namespace, ids)
        for key, vector in zip(ids, cache.vectors(own["content_hash"].to_pylist()), strict=True):
            if key not in stored or not np.allclose(stored[key], vector, atol=1e-3):
                raise VerificationError(
                    f"The vector of {key} in {plan.namespace} is not the one that was encoded. {REMEDY}"
                )
            compared += 1
    return compared


def _planned(store: ArtifactStore, plan: Plan, shard: int, columns: list[str]) -> pa.Table:
    wanted = set(load_change(store, plan.plan_id).upsert)
    table = snapshot.read(store, plan.snapshot_id, columns=columns, shards=[shard])
    return table.filter(pc.is_in(table["episode_id"], value_set=pa.array(sorted(wanted), pa.string())))


def _batches(episodes: pa.Table, vectors: Vectors, model_version: str) -> Iterator[Records]:
    for start in range(0, len(episodes), UPSERT_BATCH):
        rows = episodes.slice(start, UPSERT_BATCH).to_pylist()
        yield Records(
            ids=[row["episode_id"] for row in rows],
            values=vectors[start : start + UPSERT_BATCH],
            metadata=[
                Metadata(
                    title=row["title"],
                    show_title=row["show_title"],
                    language=row["language"],
                    published_at=row["published_at"],
                    content_hash=row["content_hash"],
                    model_version=model_version,
                )
                for row in rows
            ],
        )
