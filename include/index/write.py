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
from include.index.contract import Metadata, Records, VectorIndex
from include.index.plan import Plan, begin_write, finish_write, load_change
from include.retriever.encode import EmbeddingCache, shard_part
from include.storage import ArtifactStore

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

UPSERT_BATCH = 2_000
SAMPLED_VECTORS = 200


class VerificationError(RuntimeError):
    """The namespace does not hold what it should; search goes on with what was live before."""


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
    model: SentenceTransformer,
    *,
    batch_size: int,
) -> int:
    """Encode texts of a shard into the cache; how many."""
    return EmbeddingCache(store, plan.model_version, shard_part(shard)).encode_missing(
        texts, model, batch_size=batch_size
    )


def prepare_namespace(store: ArtifactStore, index: VectorIndex, plan: Plan, dimension: int) -> None:
    """Make the namespace, and note that it is being written to."""
    index.create(plan.namespace, dimension)
    begin_write(store, plan)


def upsert_shard(store: ArtifactStore, index: VectorIndex, plan: Plan, shard: int) -> int:
    """Write the records of a shard that the plan names; how many."""
    episodes = _planned(
        store, plan, shard, ["episode_id", "title", "show_title", "language", "published_at", "content_hash"]
    )
    cached = EmbeddingCache(store, plan.model_version, shard_part(shard)).load()
    written = index.upsert(plan.namespace, _batches(episodes, cached, plan.model_version))
    log.info("Upserted %d records of shard %d into %s.", written, shard, plan.namespace)
    return written


def delete_withdrawn(store: ArtifactStore, index: VectorIndex, plan: Plan) -> int:
    """Delete what the snapshot does not have; how many."""
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

    :raises VerificationError: they differ.
    """
    info = index.finish(plan.namespace)
    episodes = snapshot.read(store, plan.snapshot_id, columns=["episode_id", "content_hash", "podcast_id"])
    ids = episodes["episode_id"].to_pylist()
    _verify_ids(index, plan.namespace, set(ids))
    rows = random.Random(plan.plan_id).sample(range(len(ids)), min(SAMPLED_VECTORS, len(ids)))  # noqa: S311
    sampled = _verify_vectors(store, index, plan, rows)
    finish_write(store, plan)
    log.info("Verified %s: %d records (%s), %d vectors compared.", plan.namespace, info.rows, info.kind, sampled)
    return Verification(rows=info.rows, sampled=sampled, kind=info.kind)


def _verify_ids(index: VectorIndex, namespace: str, wanted: set[str]) -> None:
    held = set(index.list_ids(namespace))
    if held != wanted or index.count(namespace) != len(wanted):
        missing, extra = sorted(wanted - held), sorted(held - wanted)
        raise VerificationError(
            f"{namespace} holds {index.count(namespace)} records in place of {len(wanted)}: {len(missing)} missing "
            f"({', '.join(missing[:3])}), {len(extra)} too many ({', '.join(extra[:3])})."
        )


def _verify_vectors(store: ArtifactStore, index: VectorIndex, plan: Plan, rows: list[int]) -> int:
    """Compare stored vectors with those that were encoded, shard by shard."""
    compared = 0
    total = 0
    for part in snapshot.load(store, plan.snapshot_id).parts:
        own = [row - total for row in rows if total <= row < total + part.rows]
        total += part.rows
        if not own:
            continue
        table = snapshot.read(
            store, plan.snapshot_id, columns=["episode_id", "content_hash"], shards=[part.shard]
        ).take(own)
        cached = EmbeddingCache(store, plan.model_version, shard_part(part.shard)).load()
        ids = table["episode_id"].to_pylist()
        stored = index.fetch(plan.namespace, ids)
        for key, content in zip(ids, table["content_hash"].to_pylist(), strict=True):
            if key not in stored or not np.allclose(stored[key], cached[content], atol=1e-3):
                raise VerificationError(f"The vector of {key} in {plan.namespace} is not the one that was encoded.")
            compared += 1
    return compared


def _planned(store: ArtifactStore, plan: Plan, shard: int, columns: list[str]) -> pa.Table:
    wanted = set(load_change(store, plan.plan_id).upsert)
    table = snapshot.read(store, plan.snapshot_id, columns=columns, shards=[shard])
    if len(wanted) < len(table) or plan.action != "full":
        table = table.filter(pc.is_in(table["episode_id"], value_set=pa.array(sorted(wanted), pa.string())))
    return table


def _batches(episodes: pa.Table, vectors: dict[str, np.ndarray], model_version: str) -> Iterator[Records]:
    for batch in episodes.to_batches(max_chunksize=UPSERT_BATCH):
        rows = batch.to_pylist()
        yield Records(
            ids=[row["episode_id"] for row in rows],
            values=np.stack([vectors[row["content_hash"]] for row in rows]),
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
