"""The worst queries of a model: where to look first to improve search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
from pydantic import BaseModel

from include.evaluation.examples import EpisodeLabel
from include.index.fusion import Scored

SHOWN = 10


class WorstQuery(BaseModel):
    """A query whose right episode ranks low, and which side is to blame."""

    query: str
    wanted: EpisodeLabel
    """The best known answer."""
    others: int
    """Further known answers."""
    first: EpisodeLabel | None
    """What came first instead; None if nothing was found."""
    dense: int
    """Rank of the best right episode by meaning alone."""
    lexical: int | None
    """The same by words alone; None where it is not among the first :data:`include.index.fusion.DEPTH`."""
    rank: int
    """The same by both together."""


class WorstQueries(BaseModel):
    """The queries of one set with the lowest ranks, the lowest first; none whose first result is right."""

    query_set: str
    queries: list[WorstQuery]


def find_worst(
    results: pa.Table, dense: pa.Table, lexical: Sequence[Scored], episodes: Mapping[str, EpisodeLabel]
) -> WorstQueries:
    """The worst queries of one set, at most :data:`SHOWN`.

    :param results: per-query results of both sides together (:data:`include.evaluation.metrics.RESULTS`).
    :param dense: the same of the vectors alone, for the same queries in the same order.
    :param lexical: what the words of each query find.
    :param episodes: labels of at least the episodes that the results name.
    """
    rows = results.to_pylist()
    deep = sorted((place for place, row in enumerate(rows) if row["rank"] > 1), key=lambda place: -rows[place]["rank"])
    near = dense["rank"].to_pylist()
    return WorstQueries(
        query_set=rows[0]["query_set"],
        queries=[
            WorstQuery(
                query=rows[place]["query"],
                wanted=episodes[rows[place]["relevant"][0]],
                others=len(rows[place]["relevant"]) - 1,
                first=next((episodes[key] for key in rows[place]["top"]), None),
                dense=near[place],
                lexical=_rank(lexical[place], rows[place]["relevant"]),
                rank=rows[place]["rank"],
            )
            for place in deep[:SHOWN]
        ],
    )


def _rank(answer: Scored, relevant: Sequence[str]) -> int | None:
    return next((rank for rank, (key, _) in enumerate(answer, start=1) if key in relevant), None)
