"""Exact search: the k nearest episodes of each query by cosine, and the rank of the episode it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

BLOCK_SCORES = 2**22
"""Maximum number of scores in memory at once (32 MiB), whatever the sizes of queries and catalogue."""
DECIMALS = 9
"""Cosines that agree to this many decimals tie, and ties go to the smaller id: an equal vector never wins by rounding
noise."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The nearest episodes of each query, best first."""

    ids: list[list[str]]
    """min(k, N) episode ids a query."""
    scores: Scores
    """Their cosines, shape (Q, min(k, N))."""
    ranks: Indices | None
    """Rank from 1 of the best relevant episode among the whole catalogue, shape (Q,); None if no relevant episodes
    were given."""


def rank(
    queries: Vectors,
    catalogue: Vectors,
    ids: Sequence[str],
    *,
    k: int = 100,
    relevant: Sequence[Sequence[str]] | None = None,
    held_out: Vectors | None = None,
    targets: Sequence[int] | Indices | None = None,
) -> Ranking:
    """Rank the catalogue for each query by cosine, exactly.

    Scores are computed in float64, a block of queries at a time, and rounded, so that the result does not depend on
    blocks, threads or the order of the catalogue.

    :param queries: L2-normalised vectors, shape (Q, d).
    :param catalogue: L2-normalised vectors, shape (N, d).
    :param ids: N distinct episode ids.
    :param relevant: episode ids that answer each query, all of them in the catalogue; gives :attr:`Ranking.ranks`.
    :param held_out: shape (Q, d); replaces the vector of catalogue row ``targets[i]`` while query ``i`` is ranked.
    :raises ValueError: shapes do not fit, vectors are not normalised (or not finite), or an id is unknown.
    """
    queries, catalogue = _checked("queries", queries), _checked("catalogue", catalogue)
    _check_shapes(queries, catalogue, ids)
    position = {episode_id: index for index, episode_id in enumerate(ids)}
    if len(position) != len(ids):
        raise ValueError("Episode ids repeat: each row of the catalogue needs its own.")
    wanted = _positions(relevant, position, len(queries)) if relevant is not None else None
    stand_ins = _stand_ins(held_out, targets, queries, catalogue)
    id_order, k = _id_order(ids), min(k, len(ids))
    exact_queries, exact_catalogue = queries.astype(np.float64), catalogue.astype(np.float64)

    tops = np.empty((len(queries), k), np.int64)
    scores = np.empty((len(queries), k), np.float64)
    ranks = np.empty(len(queries), np.int64) if wanted is not None else None
    step = max(1, BLOCK_SCORES // len(catalogue))
    for start in range(0, len(queries), step):
        block = exact_queries[start : start + step] @ exact_catalogue.T
        for row, own in enumerate(block, start):
            if stand_ins:
                target, stand_in = stand_ins[row]
                own[target] = exact_queries[row] @ stand_in
            np.round(own, DECIMALS, out=own)
            tops[row] = _nearest(own, id_order, k)
            scores[row] = own[tops[row]]
            if ranks is not None and wanted is not None:
                ranks[row] = _best_rank(own, id_order, wanted[row])
    names = np.asarray(ids, dtype=object)
    return Ranking([names[top].tolist() for top in tops], scores, ranks)


def _nearest(scores: Scores, id_order: Indices, k: int) -> Indices:
    """The k best rows, the best first."""
    rows = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    order: Indices = np.lexsort((id_order[rows], -scores[rows]))[:k]
    return rows[order]


def _best_rank(scores: Scores, id_order: Indices, relevant: Indices) -> int:
    """How many rows stand before the best of the relevant ones, plus one."""
    best = relevant[_nearest(scores[relevant], id_order[relevant], 1)[0]]
    ahead = (scores > scores[best]) | ((scores == scores[best]) & (id_order < id_order[best]))
    return int(np.count_nonzero(ahead)) + 1


def _id_order(ids: Sequence[str]) -> Indices:
    """Position of each id in the sorted list of all."""
    order = np.empty(len(ids), np.int64)
    order[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
    return order


def _checked(name: str, vectors: Vectors) -> Vectors:
    """The vectors as contiguous float32.

    :raises ValueError: they are not a matrix of unit vectors.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"The vectors of {name} need two dimensions, not shape {vectors.shape}.")
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    if not np.all(np.abs(norms - 1) < 1e-3):  # also false for NaN
        raise ValueError(f"The vectors of {name} are not L2-normalised: encode with normalize_embeddings=True.")
    return vectors


def _check_shapes(queries: Vectors, catalogue: Vectors, ids: Sequence[str]) -> None:
    if queries.shape[1] != catalogue.shape[1]:
        raise ValueError(
            f"Queries have {queries.shape[1]} dimensions, the catalogue {catalogue.shape[1]}: two models met."
        )
    if len(catalogue) != len(ids) or not ids:
        raise ValueError(
            f"{len(ids)} ids for {len(catalogue)} vectors of the catalogue: need one each, and at least one."
        )


def _positions(relevant: Sequence[Sequence[str]], position: dict[str, int], queries: int) -> list[Indices]:
    if len(relevant) != queries:
        raise ValueError(f"Relevant episodes are given for {len(relevant)} of {queries} queries.")
    try:
        return [np.array([position[episode_id] for episode_id in group], np.int64) for group in relevant]
    except KeyError as error:
        raise ValueError(
            f"Relevant episode {error} is not in the catalogue: leave the query out or add the episode."
        ) from None


def _stand_ins(
    held_out: Vectors | None, targets: Sequence[int] | Indices | None, queries: Vectors, catalogue: Vectors
) -> list[tuple[int, Vectors]] | None:
    if (held_out is None) != (targets is None):
        raise ValueError(
            "held_out and targets go together: a vector for each query, and the catalogue row it replaces."
        )
    if held_out is None or targets is None:
        return None
    held_out = _checked("held_out", held_out)
    rows = np.asarray(targets, np.int64)
    if held_out.shape != queries.shape or rows.shape != (len(queries),):
        raise ValueError(f"held_out {held_out.shape} and targets {rows.shape} do not fit queries {queries.shape}.")
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(catalogue)):
        raise ValueError("targets name rows outside the catalogue.")
    return list(zip(rows.tolist(), held_out, strict=True))
