"""Retrieval metrics: one row per query, and their means with bootstrap intervals.

The measures are those of ir_measures, so that the figures mean what other systems' figures mean. ``R`` and ``nDCG``
come from its trec_eval binding (pytrec_eval), ``RR`` with a cutoff from its MS MARCO evaluator.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import ir_measures
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from ir_measures import RR, R, nDCG
from pydantic import BaseModel

from include.evaluation.queries import BEST, QuerySet
from include.evaluation.ranking import Vectors, rank
from include.index.fusion import Scored, together

MEASURES = {"recall@1": R @ 1, "recall@30": R @ 30, "mrr@30": RR @ 30, "ndcg@10": nDCG @ 10}
"""Column of the results to measure. Spotify reports Recall@30 and MRR@30; the others show the top of the list."""
METRIC_NAMES = {"recall@1": "Recall@1", "recall@30": "Recall@30", "mrr@30": "MRR@30", "ndcg@10": "nDCG@10"}
DEPTH = 100
"""How many results per query are ranked for the measures."""
SHOWN = 10
"""How many of them are kept by id, for the report's examples."""
RANK_BUCKETS = ((1, 1), (2, 3), (4, 10), (11, 30), (31, 100), (101, None))
"""Ranks from and to (inclusive; None: no end) of the rank distribution."""
RESAMPLES = 2_000

RESULTS = pa.schema(
    [
        pa.field("query_set", pa.string(), nullable=False),
        pa.field("query", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("relevant", pa.list_(pa.string()), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in MEASURES),
        pa.field("top", pa.list_(pa.string()), nullable=False),
    ]
)
"""Per-query results: ``rank`` is that of the best relevant episode in the whole catalogue, ``top`` has the first ten
ids."""

Side = Literal["dense", "lexical"]
Floats = npt.NDArray[np.float64]


class Interval(BaseModel):
    """A mean and its two-sided 95 % interval; no bounds where there are too few queries to tell."""

    mean: float
    low: float | None = None
    high: float | None = None


class ModelEvaluation(BaseModel):
    """How well one model version finds the episodes of one query set."""

    model_version: str
    query_set: str
    queries: int
    catalogue: int
    metrics: dict[str, Interval]
    ranks: dict[str, int] = {}
    """Rank bucket (``1``, ``2–3``, … ``over 100``) to number of queries."""
    sides: dict[Side, dict[str, Interval]] = {}
    """The metrics of each side alone; empty if words were not searched."""
    judged: float | None = None
    """Share of the first :data:`SHOWN` results that a person has judged for the query, on average; None if nobody
    judges, or if it has not been measured yet."""


class Evaluated(NamedTuple):
    """What a model finds for one query set: the summary, and the per-query results in the shape of :data:`RESULTS`."""

    summary: ModelEvaluation
    results: pa.Table
    dense: pa.Table
    """The results of the vectors alone."""


def evaluate(
    query_set: QuerySet,
    *,
    model_version: str,
    queries: Vectors,
    catalogue: Vectors,
    ids: Sequence[str],
    positives: Vectors | None = None,
    lexical: Sequence[Scored] | None = None,
    weight: float = 1.0,
    seed: int = 0,
) -> Evaluated:
    """Rank the catalogue for a query set and measure the result.

    :param queries: vectors of ``query_set.queries``, shape (Q, d), L2-normalised as all vectors here.
    :param catalogue: vectors of the episodes ``ids``, shape (N, d).
    :param positives: vectors of ``query_set.positives``, shape (Q, d); required if and only if the set has them.
    :param lexical: what the words of each query find (:mod:`include.evaluation.words`), which is brought together with
        the vectors' answers as search does it; without it vectors alone are measured.
    :param weight: of the vectors beside the words; see :func:`include.index.fusion.fuse`.
    :raises ValueError: see :func:`include.evaluation.ranking.rank`; or the set is empty.
    """
    if (positives is None) != (query_set.positives is None):
        raise ValueError(
            f"Query set {query_set.name!r}: vectors of the positives must be given exactly if it has positives."
        )
    targets = None
    if positives is not None:
        row = {episode_id: index for index, episode_id in enumerate(ids)}
        targets = [row.get(relevant[0], -1) for relevant in query_set.relevant]
    ranking = rank(queries, catalogue, ids, k=DEPTH, relevant=query_set.relevant, held_out=positives, targets=targets)
    assert ranking.ranks is not None, "relevant episodes were given"
    results = dense = per_query(query_set, ranking.ids, ranking.ranks)
    sides: dict[Side, dict[str, Interval]] = {}
    if lexical is not None:
        words = [[key for key, _ in answer] for answer in lexical]
        fused = [
            [
                one.episode_id
                for one in together(query, list(zip(near, scores, strict=True)), said, weight=weight, episodes=len(ids))
            ]
            for query, near, scores, said in zip(
                query_set.queries, ranking.ids, ranking.scores.tolist(), lexical, strict=True
            )
        ]
        results = per_query(query_set, fused, _places(query_set, fused, ranking.ranks))
        said = per_query(query_set, words, _places(query_set, words, np.full(len(words), len(ids))))
        sides = {"dense": means(dense, seed=seed), "lexical": means(said, seed=seed)}
    summary = summarise(results, model_version=model_version, catalogue=len(ids), seed=seed)
    more = {"sides": sides, "judged": _judged(query_set, results)}
    return Evaluated(summary.model_copy(update=more), results, dense)


def _judged(query_set: QuerySet, results: pa.Table) -> float | None:
    """:attr:`ModelEvaluation.judged`."""
    if query_set.judged is None:
        return None
    tops = zip(results["top"].to_pylist(), query_set.judged, strict=True)
    return float(np.mean([sum(key in grades for key in top) / max(len(top), 1) for top, grades in tops]))


def _places(
    query_set: QuerySet, answers: Sequence[Sequence[str]], elsewhere: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The rank of the best relevant episode in each answer; behind it, and no better than ``elsewhere``, if it is not
    there."""
    places = []
    for relevant, answer, other in zip(query_set.relevant, answers, elsewhere.tolist(), strict=True):
        right = set(relevant)
        place = next((rank for rank, key in enumerate(answer, start=1) if key in right), None)
        places.append(place or max(len(answer) + 1, other))
    return np.array(places, np.int64)


def per_query(query_set: QuerySet, answers: Sequence[Sequence[str]], ranks: npt.NDArray[np.int64]) -> pa.Table:
    """Every measure of every query, in the order of the set and the shape of :data:`RESULTS`.

    nDCG gives an episode of grade 2 twice the gain of one of grade 1; to the others a relevant episode is one.

    :param answers: episode ids a query, best first.
    :param ranks: of the best relevant episode, among all; shape (Q,).
    """
    judged = query_set.judged or [dict.fromkeys(ids, BEST) for ids in query_set.relevant]
    qrels = {str(row): grades for row, grades in enumerate(judged)}
    # The providers break ties each in its own way: scores that fall with the rank leave them none to break.
    run = {str(row): {name: float(-place) for place, name in enumerate(ids)} for row, ids in enumerate(answers)}
    names = {measure: name for name, measure in MEASURES.items()}
    values = {name: [0.0] * len(query_set) for name in MEASURES}
    for metric in ir_measures.iter_calc(list(names), qrels, run):
        values[names[metric.measure]][int(metric.query_id)] = float(metric.value)
    columns: dict[str, Any] = {
        "query_set": [query_set.name] * len(query_set),
        "query": query_set.queries,
        "origin": query_set.origins,
        "relevant": query_set.relevant,
        "rank": ranks,
        **values,
        "top": [list(ids[:SHOWN]) for ids in answers],
    }
    return pa.table(columns, schema=RESULTS)


def summarise(results: pa.Table, *, model_version: str, catalogue: int, seed: int = 0) -> ModelEvaluation:
    """Means of the per-query results of one query set, with their intervals.

    :raises ValueError: there are no queries, or those of several sets.
    """
    sets = set(results["query_set"].to_pylist())
    if len(sets) != 1:
        raise ValueError(f"Need the results of one query set, not of {sorted(sets) or 'none'}.")
    return ModelEvaluation(
        model_version=model_version,
        query_set=sets.pop(),
        queries=len(results),
        catalogue=catalogue,
        metrics=means(results, seed=seed),
        ranks=bucket_ranks(results["rank"].to_pylist()),
    )


def means(results: pa.Table, *, seed: int = 0) -> dict[str, Interval]:
    """The mean of each measure with its interval."""
    groups = clusters(results)
    return {name: interval(results[name].to_numpy(), groups, seed=seed) for name in MEASURES}


def clusters(results: pa.Table) -> npt.NDArray[np.int64]:
    """Number of the group each query belongs to: queries with the same answer are not independent of each other."""
    keys = [tuple(sorted(ids)) for ids in results["relevant"].to_pylist()]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.int64)


def interval(values: Floats, groups: npt.NDArray[np.int64], *, seed: int = 0) -> Interval:
    """The mean of some per-query values with its 95 % percentile bootstrap interval, drawn by whole groups of queries.

    Several queries drawn from one episode succeed or fail together; drawn one by one they would make the interval too
    narrow (cluster bootstrap: Davison & Hinkley, Bootstrap Methods and their Application, 3.8). With one query a
    group this is the ordinary bootstrap.
    """
    mean = float(np.mean(values))
    if len(np.unique(groups)) < 2:
        return Interval(mean=mean)
    from scipy.stats import bootstrap  # which who reads the figures need not load

    sums, counts = np.bincount(groups, values), np.bincount(groups).astype(np.float64)
    bounds = bootstrap(
        (sums, counts),
        lambda total, count, axis: total.sum(axis=axis) / count.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=200,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean=mean, low=float(bounds.low), high=float(bounds.high))


def differences(candidate: pa.Table, reference: pa.Table, *, seed: int = 0) -> dict[str, Interval]:
    """How much better (above zero) or worse the candidate is, by metric, query by query.

    :raises ValueError: the two were measured on different queries.
    """
    check_same_queries(candidate, reference)
    groups = clusters(candidate)
    return {
        name: interval(candidate[name].to_numpy() - reference[name].to_numpy(), groups, seed=seed) for name in MEASURES
    }


def check_same_queries(candidate: pa.Table, reference: pa.Table) -> None:
    """Two results can be compared query by query.

    :raises ValueError: they cannot.
    """
    columns = ["query_set", "query", "relevant"]
    if not candidate.select(columns).equals(reference.select(columns)):
        raise ValueError("The two models were measured on different queries: evaluate both on the same query set.")


def bucket_ranks(ranks: Iterable[int]) -> dict[str, int]:
    """How many ranks fall in each of :data:`RANK_BUCKETS`."""
    values = np.fromiter(ranks, np.int64)
    return {
        _bucket_name(low, high): int(np.count_nonzero((values >= low) & (values <= (high or np.inf))))
        for low, high in RANK_BUCKETS
    }


def _bucket_name(low: int, high: int | None) -> str:
    if high is None:
        return f"over {low - 1}"
    return str(low) if low == high else f"{low}–{high}"
