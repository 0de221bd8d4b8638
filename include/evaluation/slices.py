"""Slices of a query set: how well a model answers short queries and long ones, in one language and in another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from include.evaluation.metrics import MEASURES
from include.queries.titles import count_words

FEWEST = 10
"""The fewest queries of a slice that is shown: a mean of fewer says little."""


class Wanted(NamedTuple):
    """What slices need to know of an episode that a query asks for."""

    language: str
    description_words: int


class Slice(BaseModel):
    """Some of the queries, and the mean of each metric."""

    name: str
    queries: int
    metrics: dict[str, float]


class Slices(BaseModel):
    """The queries of a set, divided by one property."""

    by: str
    """The property, in words."""
    heading: str
    """The same in a word or two."""
    slices: list[Slice]
    few: dict[str, int] = {}
    """Slices of fewer than :data:`FEWEST` queries, which are left out: name to number of queries."""


def slice_results(results: pa.Table, episodes: Mapping[str, Wanted]) -> list[Slices]:
    """The results of one query set, divided by each property that has more than one value.

    A query that several episodes answer is in the slice of the first of them.

    :param results: per-query results, in the shape of :data:`include.evaluation.metrics.RESULTS`.
    :param episodes: at least the first that answers each query.
    """
    rows = results.select(["query", "origin", "relevant"]).to_pylist()
    found = [
        _divided(by, heading, [place(row, episodes[row["relevant"][0]]) for row in rows], results)
        for by, heading, place in PROPERTIES
    ]
    return [one for one in found if len(one.slices) + len(one.few) > 1]


def _divided(by: str, heading: str, places: list[tuple[int, str]], results: pa.Table) -> Slices:
    """:param places: order and name of each query's slice."""
    slices, few = [], {}
    for place in sorted(set(places)):
        chosen = np.array([other == place for other in places])
        if (queries := int(np.count_nonzero(chosen))) < FEWEST:
            few[place[1]] = queries
            continue
        metrics = {name: float(np.mean(results[name].to_numpy()[chosen])) for name in MEASURES}
        slices.append(Slice(name=place[1], queries=queries, metrics=metrics))
    return Slices(by=by, heading=heading, slices=slices, few=few)


def _length(words: int, bounds: tuple[int, ...]) -> tuple[int, str]:
    """The slice of a number of words.

    :param bounds: the most words of each slice but the last.
    """
    for order, (low, high) in enumerate(zip((0, *bounds), bounds, strict=False)):
        if words <= high:
            return order, f"{low + 1}–{high} words" if high else "none"
    return len(bounds), f"{bounds[-1] + 1} words or more"


QUERY_WORDS = (3, 7)
DESCRIPTION_WORDS = (0, 24, 49, 99)

PROPERTIES: tuple[tuple[str, str, Callable[[dict[str, Any], Wanted], tuple[int, str]]], ...] = (
    ("where the query comes from", "Origin", lambda row, _: (0, row["origin"])),
    ("the language of the wanted episode", "Language", lambda _, wanted: (0, wanted.language)),
    ("the length of the query", "Query", lambda row, _: _length(count_words(row["query"]), QUERY_WORDS)),
    (
        "the length of the wanted description",
        "Description",
        lambda _, wanted: _length(wanted.description_words, DESCRIPTION_WORDS),
    ),
)
