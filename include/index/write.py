"""Carrying a plan out: encode what is missing, upsert, delete, verify. Each step can be killed and repeated.

Two plans for one namespace are kept apart by its journal, which names the plan that writes: every step asks it before
each batch, and again after the last. One that finds another plan there says that the namespace may hold anything.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import BaseModel

from include.episodes import snapshot
from include.index.contract import EpisodeIndex, Metadata, Records, Stored, Vectors
from include.index.plan import (
    OutdatedPlanError,
    Plan,
    UnverifiedPlanError,
    begin_write,
    distrust,
    finish_write,
    forget,
    forget_lost,
    ids_to_delete,
    ids_to_upsert,
    require_current,
    without,
)
from include.retriever.encode import EmbeddingCache, shard_part
from include.retriever.encoders.contract import Encoder
from include.storage import ArtifactStore

log = logging.getLogger(__name__)

UPSERT_BATCH = 2_000
SAMPLED_WRITTEN = 2_000
"""Records that the plan wrote and that are read again; of a million on Pinecone, that takes about twenty requests."""
SAMPLED_OTHERS = 200
"""Of those that it left as they were."""
CLOSE = 1e-5
"""Between a number that was encoded and the one that is kept: Pinecone's travel with seven decimals."""
GOLDEN = 100
"""Sampled records whose vectors, and whose words, are asked as queries."""
MISSES = 1
"""Of these, that an approximate index may not find: to a point in a graph there need not be a path."""
WORDS_K = 10
WORDS_CHARS = 300
WORDS_FOUND = 0.9
"""Share of records that the beginning of their own text must find among the first :data:`WORDS_K`, at the least: the
parts of a serial have all their words in common."""
EQUAL = 1 - 1e-4
"""Cosine from which two vectors are the same to search: equal texts, and rounding."""
NAMED = 3
"""Records that a message names."""
REMEDY = "Run reindex_episodes again: it builds the namespace in full."


class VerificationError(RuntimeError):
    """The namespace does not hold what it should; search goes on with what was live before."""


class LostNamespaceError(RuntimeError):
    """The index does not have the namespace that the journal speaks of; planning again builds it in full."""


class Verification(BaseModel):
    """What was verified, and how the namespace is searched."""

    namespace: str
    snapshot_id: str
    rows: int
    sampled: int
    """Records whose vector and metadata were compared."""
    golden: int = 0
    """Of these, asked as queries that must find themselves."""
    kind: str
    queries: int = 0
    recall: float | None = None
    """Share of exact search's answers that the index gave to ``queries`` queries; None if none were asked."""


def require_verified(store: ArtifactStore, plan: Plan, verification: Verification) -> None:
    """Do nothing if it was verified that the plan's namespace holds its snapshot, and that is still so.

    :raises UnverifiedPlanError: it was not, or something was written since.
    :raises OutdatedPlanError: another plan writes to the namespace.
    """
    states = require_current(store, plan).states
    verified = (verification.namespace, verification.snapshot_id) == (plan.namespace, plan.snapshot_id)
    if not verified or states != [plan.snapshot_id]:
        raise UnverifiedPlanError(plan)


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
    encoder: Encoder,
    *,
    batch_size: int = 0,
) -> int:
    """Encode texts of a shard into the cache; how many."""
    return EmbeddingCache(store, plan.model_version, shard_part(shard)).encode_missing(
        texts, encoder, batch_size=batch_size
    )


def prepare_namespace(store: ArtifactStore, index: EpisodeIndex, plan: Plan, dimension: int) -> None:
    """Make the namespace, and note that it is being written to.

    :raises LostNamespaceError: there is nothing there that a difference could be written to.
    :raises OutdatedPlanError: another has written to the namespace since the plan was made.
    """
    if plan.action != "full" and forget_lost(store, plan.namespace, index):
        raise LostNamespaceError(
            f"{plan.namespace} is not in the index {index.name}, so no difference can be written: "
            "plan again, and it is built in full."
        )
    index.create(plan.namespace, dimension)
    begin_write(store, plan, index.name)


def upsert_shard(store: ArtifactStore, index: EpisodeIndex, plan: Plan, shard: int) -> int:
    """Write the records of a shard that the plan names; how many.

    :raises OutdatedPlanError: the namespace was planned anew since.
    """
    episodes = _planned(store, plan, shard, ["episode_id", *snapshot.INDEXED])
    cache = EmbeddingCache(store, plan.model_version, shard_part(shard))
    vectors = cache.vectors(episodes["content_hash"].to_pylist())
    with _writing(store, plan):
        written = index.upsert(plan.namespace, _batches(store, plan, episodes, vectors))
    log.info("Upserted %d records of shard %d into %s.", written, shard, plan.namespace)
    return written


def delete_withdrawn(store: ArtifactStore, index: EpisodeIndex, plan: Plan) -> int:
    """Delete what the snapshot does not have; how many.

    :raises OutdatedPlanError: the namespace was planned anew since.
    """
    require_current(store, plan)
    ids = ids_to_delete(store, plan)
    if plan.action == "full":
        # An earlier, unfinished build may have left records of no known snapshot.
        ids = without(_listed(index, plan.namespace), _published(store, plan)).sort()
    with _writing(store, plan):
        index.delete(plan.namespace, ids.to_list())
    log.info("Deleted %d withdrawn episodes from %s.", len(ids), plan.namespace)
    return len(ids)


def finish_namespace(store: ArtifactStore, index: EpisodeIndex, plan: Plan) -> str:
    """Compact the namespace, and build its indexes: for a large one, the approximate index. How it is searched then.

    :raises OutdatedPlanError: the namespace was planned anew since.
    """
    require_current(store, plan)
    index.finish(plan.namespace)
    kind = index.kind(plan.namespace)
    log.info("Finished %s (%s).", plan.namespace, kind)
    return kind


def verify(store: ArtifactStore, index: EpisodeIndex, plan: Plan) -> Verification:
    """Hold the namespace against the snapshot: every id; vectors and metadata of a sample; and what search finds.

    The sample has up to :data:`SAMPLED_WRITTEN` of the records that the plan wrote, and :data:`SAMPLED_OTHERS` others.
    Some of its vectors are asked as queries: each must find itself first, or another that is equal to it. So are the
    words of the same records, which must nearly all be among the first that are found.

    :raises VerificationError: they differ; the next run then builds the namespace in full.
    :raises OutdatedPlanError: the namespace was planned anew since.
    """
    require_current(store, plan)
    kind = index.kind(plan.namespace)
    ids = _published(store, plan)
    try:
        _verify_ids(index, plan.namespace, ids)
        compared = _verify_records(store, index, plan, _sampled(store, plan, ids))
        golden = dict(islice(compared.items(), GOLDEN))
        _verify_search(index, plan, kind, golden)
        _verify_words(index, plan, golden)
    except VerificationError:
        distrust(store, plan)
        raise
    finish_write(store, plan)
    log.info(
        "Verified %s: %d records (%s), %d of them compared, %d searched for.",
        plan.namespace,
        len(ids),
        kind,
        len(compared),
        len(golden),
    )
    return Verification(
        namespace=plan.namespace,
        snapshot_id=plan.snapshot_id,
        rows=len(ids),
        sampled=len(compared),
        golden=len(golden),
        kind=kind,
    )


def _published(store: ArtifactStore, plan: Plan) -> pl.Series:
    """Ids of the plan's snapshot."""
    return pl.Series(snapshot.read(store, plan.snapshot_id, columns=["episode_id"])["episode_id"])


def _listed(index: EpisodeIndex, namespace: str) -> pl.Series:
    """Ids that a namespace holds, as often as it lists them."""
    return pl.Series(index.list_ids(namespace), dtype=pl.String)


def _verify_ids(index: EpisodeIndex, namespace: str, wanted: pl.Series) -> None:
    listed = _listed(index, namespace)
    held = listed.unique()
    missing, extra = without(wanted, held).sort(), without(held, wanted).sort()
    if len(missing) or len(extra) or len(listed) != len(held):
        raise VerificationError(
            f"{namespace} has {len(listed)} records instead of {len(wanted)}: {len(missing)} missing "
            f"({', '.join(missing.head(NAMED))}), {len(extra)} too many ({', '.join(extra.head(NAMED))}), "
            f"{len(listed) - len(held)} more than once. {REMEDY}"
        )


def _sampled(store: ArtifactStore, plan: Plan, ids: pl.Series) -> list[str]:
    """Ids of the records to compare, in an order that says nothing."""
    draw = random.Random(plan.plan_id)  # noqa: S311
    written = pl.concat([ids_to_upsert(store, plan, shard) for shard in (plan.shards or [0])])
    chosen: list[str] = []
    for some, most in ((written, SAMPLED_WRITTEN), (without(ids, written), SAMPLED_OTHERS)):
        chosen += some.gather(draw.sample(range(len(some)), min(most, len(some)))).to_list()
    draw.shuffle(chosen)
    return chosen


def _verify_records(
    store: ArtifactStore, index: EpisodeIndex, plan: Plan, sampled: Collection[str]
) -> dict[str, Stored]:
    """Compare what is stored under some ids with what was encoded and published, shard by shard; in their order."""
    compared: dict[str, Stored] = {}
    wrong: dict[str, str] = {}
    columns = ["episode_id", *snapshot.INDEXED]
    for shard, table in snapshot.read_shards(store, plan.snapshot_id, columns=columns):
        cache = EmbeddingCache(store, plan.model_version, shard_part(shard))
        if lost := cache.missing(set(table["content_hash"].to_pylist())):
            raise VerificationError(f"The embeddings of {len(lost)} texts are gone from the artifact store. {REMEDY}")
        own = _of(table, pl.Series(sampled, dtype=pl.String))
        found = index.fetch(plan.namespace, own["episode_id"].to_pylist())
        for row, vector in zip(own.to_pylist(), cache.vectors(own["content_hash"].to_pylist()), strict=True):
            key = row["episode_id"]
            wanted = Stored(vector, index.kept(_metadata(row, plan.model_version)))
            if differing := _differing(found.get(key), wanted):
                wrong[key] = differing
        compared |= found
    if wrong:
        named = "; ".join(f"{key}: {differing}" for key, differing in sorted(wrong.items())[:NAMED])
        raise VerificationError(
            f"{len(wrong)} of {len(sampled)} records compared in {plan.namespace} differ from those of the "
            f"snapshot {plan.snapshot_id} ({named}). {REMEDY}"
        )
    return {key: compared[key] for key in sampled}


def _differing(found: Stored | None, wanted: Stored) -> str:
    """What of a record is not as it should be, in words."""
    if found is None:
        return "it cannot be read"
    held = asdict(found.metadata)
    differing = [
        f"{name} '{held[name]!s:.60}' instead of '{value!s:.60}'"
        for name, value in asdict(wanted.metadata).items()
        if held[name] != value
    ]
    if found.values.shape != wanted.values.shape or not np.allclose(found.values, wanted.values, rtol=0, atol=CLOSE):
        differing.append("another vector than was encoded")
    return ", ".join(differing)


def _verify_search(index: EpisodeIndex, plan: Plan, kind: str, golden: Mapping[str, Stored]) -> None:
    """Ask some stored vectors as queries."""
    if not golden:
        return
    answers = index.search_vectors(plan.namespace, np.stack([record.values for record in golden.values()]), 1)
    lost = [
        key
        for key, hits in zip(golden, answers, strict=True)
        if not hits or (hits[0].episode_id != key and hits[0].score < EQUAL)
    ]
    if len(lost) > (0 if kind == "exact" else MISSES):
        raise VerificationError(
            f"{len(lost)} of {len(golden)} vectors of {plan.namespace} do not find themselves when used as "
            f"queries ({', '.join(lost[:NAMED])}). {REMEDY}"
        )


def _verify_words(index: EpisodeIndex, plan: Plan, golden: Mapping[str, Stored]) -> None:
    """Ask the words with which some records begin as queries."""
    queries = [_beginning(record.metadata) for record in golden.values()]
    answers = index.search_words(plan.namespace, queries, WORDS_K)
    lost = [
        key
        for key, query, hits in zip(golden, queries, answers, strict=True)
        if not any(hit.episode_id == key or _beginning(hit.metadata) == query for hit in hits)
    ]
    if len(lost) > (1 - WORDS_FOUND) * len(golden):
        raise VerificationError(
            f"{len(lost)} of {len(golden)} records of {plan.namespace} are not found by their own words "
            f"({', '.join(lost[:NAMED])}). {REMEDY}"
        )


def _beginning(metadata: Metadata) -> str:
    return " ".join([metadata.title, metadata.show_title, metadata.description or ""])[:WORDS_CHARS]


@contextmanager
def _writing(store: ArtifactStore, plan: Plan) -> Iterator[None]:
    """A block that writes to the namespace.

    :raises OutdatedPlanError: it was planned anew: before the block, and nothing was written; or meanwhile, and then a
        write may have come over one of the later plan's. So its journal goes, the later plan is refused, too, and the
        next one builds in full.
    """
    require_current(store, plan)
    try:
        yield
    finally:
        try:
            require_current(store, plan)
        except OutdatedPlanError:
            log.warning("%s may hold some older records now: the next plan builds it in full.", plan.namespace)
            forget(store, plan.namespace)
            raise


def _planned(store: ArtifactStore, plan: Plan, shard: int, columns: list[str]) -> pa.Table:
    table = snapshot.read(store, plan.snapshot_id, columns=columns, shards=[shard])
    return _of(table, ids_to_upsert(store, plan, shard))


def _of(episodes: pa.Table, ids: pl.Series) -> pa.Table:
    return episodes.filter(pl.Series(episodes["episode_id"]).is_in(ids.implode()).to_arrow())


def _batches(store: ArtifactStore, plan: Plan, episodes: pa.Table, vectors: Vectors) -> Iterator[Records]:
    for start in range(0, len(episodes), UPSERT_BATCH):
        rows = episodes.slice(start, UPSERT_BATCH).to_pylist()
        require_current(store, plan)
        yield Records(
            ids=[row["episode_id"] for row in rows],
            values=vectors[start : start + UPSERT_BATCH],
            metadata=[_metadata(row, plan.model_version) for row in rows],
        )


def _metadata(row: dict[str, Any], model_version: str) -> Metadata:
    return Metadata(**{name: row[name] for name in snapshot.INDEXED}, model_version=model_version)
