"""How much of exact search's answers the index gives."""

from __future__ import annotations

import logging

import numpy as np

from include.episodes import snapshot
from include.index.contract import EpisodeIndex, Vectors
from include.index.plan import Plan
from include.index.write import VerificationError
from include.retriever.encode import EmbeddingCache, shard_part
from include.storage import ArtifactStore

log = logging.getLogger(__name__)

K = 30
LEAST = 0.9
"""Share of exact search's answers that the index must give before it goes live."""
MAX_QUERIES = 200


def index_recall(store: ArtifactStore, index: EpisodeIndex, plan: Plan, queries: Vectors, *, k: int = K) -> float:
    """Mean share of the exact k nearest that the index returns.

    An episode that scores the same as the last of them counts as one of them: equal texts are equally right.

    :param queries: L2-normalised, shape (q, dimension).
    """
    floor = _kth_scores(store, plan, queries, k)
    asked = max(min(k, snapshot.load(store, plan.snapshot_id).episodes), 1)
    answers = index.search_vectors(plan.namespace, queries, k)
    shares = [
        sum(hit.score >= least - 1e-4 for hit in hits) / asked for hits, least in zip(answers, floor, strict=True)
    ]
    return float(np.mean(shares))


def require_recall(
    store: ArtifactStore, index: EpisodeIndex, plan: Plan, queries: Vectors, *, least: float = LEAST
) -> float:
    """The index's recall.

    :raises VerificationError: it is below ``least``.
    """
    recall = index_recall(store, index, plan, queries)
    log.info("The index gives %.3f of exact search's first %d answers.", recall, K)
    if recall < least:
        raise VerificationError(
            f"The index gives {recall:.3f} of exact search's first {K} answers, less than {least:.3f}."
        )
    return recall


def _kth_scores(store: ArtifactStore, plan: Plan, queries: Vectors, k: int) -> Vectors:
    """The score of each query's k-th nearest episode, by exact search one shard at a time; shape (q,)."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    for shard, table in snapshot.read_shards(store, plan.snapshot_id, columns=["content_hash"]):
        if not len(table):
            continue
        cache = EmbeddingCache(store, plan.model_version, shard_part(shard))
        vectors = cache.vectors(table["content_hash"].to_pylist())
        both = np.concatenate([best, queries @ vectors.T], axis=1)
        best = -np.partition(-both, k - 1, axis=1)[:, :k]
    finite = np.where(np.isfinite(best), best, np.inf)
    return np.asarray(finite.min(axis=1), np.float32)
