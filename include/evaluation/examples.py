"""Example queries for the report: a fair sample of what got better, got worse and stayed the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from include.evaluation.metrics import check_same_queries

RankChange = Literal["improved", "worse", "unchanged"]
OUTCOMES: tuple[RankChange, ...] = ("improved", "worse", "unchanged")
RESULTS_SHOWN = 5


class EpisodeLabel(NamedTuple):
    """How an episode is shown in a list of results."""

    title: str
    show_title: str


class Hit(BaseModel):
    """One result of an example query."""

    rank: int
    title: str
    show_title: str
    relevant: bool


class Example(BaseModel):
    """One query with its first results, before (if there was a before) and after."""

    query_set: str
    origin: str
    query: str
    outcome: RankChange | None = None
    """What became of the rank of the best relevant episode; None without a before."""
    wanted: str
    """Title of the best known answer."""
    rank_before: int | None = None
    rank_after: int
    before: list[Hit] = []
    after: list[Hit]


class ExampleChoice(BaseModel):
    """The examples, and how many queries they were drawn from."""

    examples: list[Example]
    totals: dict[str, int] = {}
    """Number of queries with each outcome, by outcome; empty without a before."""


def choose(
    after: pa.Table,
    before: pa.Table | None,
    episodes: Mapping[str, EpisodeLabel],
    *,
    per_outcome: int = 2,
    seed: int = 0,
) -> ExampleChoice:
    """Draw examples at random (seeded), the same number of each outcome as far as possible.

    :param after: per-query results (:data:`include.evaluation.metrics.RESULTS`) of the model that is reported.
    :param before: those of the model it is compared with, on the same queries; without it any examples are drawn.
    :param episodes: labels of at least the episodes that the results name.
    :raises ValueError: the two were measured on different queries.
    """
    rng = np.random.default_rng(seed)
    new = after.to_pylist()
    if before is None:
        drawn = rng.permutation(len(new))[: per_outcome * len(OUTCOMES)]
        return ExampleChoice(examples=[_example(new[row], None, episodes) for row in drawn])
    check_same_queries(after, before)
    old = before.to_pylist()
    rows: dict[RankChange, list[int]] = {outcome: [] for outcome in OUTCOMES}
    for row, (one, other) in enumerate(zip(new, old, strict=True)):
        rows[_outcome(one["rank"], other["rank"])].append(row)
    examples = [
        _example(new[row], old[row], episodes)
        for outcome in OUTCOMES
        for row in rng.permutation(np.array(rows[outcome], np.int64))[:per_outcome].tolist()
    ]
    return ExampleChoice(examples=examples, totals={outcome: len(found) for outcome, found in rows.items()})


def _outcome(after: int, before: int) -> RankChange:
    if after == before:
        return "unchanged"
    return "improved" if after < before else "worse"


def _example(after: dict[str, Any], before: dict[str, Any] | None, episodes: Mapping[str, EpisodeLabel]) -> Example:
    return Example(
        query_set=after["query_set"],
        origin=after["origin"],
        query=after["query"],
        outcome=_outcome(after["rank"], before["rank"]) if before else None,
        wanted=episodes[after["relevant"][0]].title,
        rank_before=before["rank"] if before else None,
        rank_after=after["rank"],
        before=_hits(before, episodes) if before else [],
        after=_hits(after, episodes),
    )


def _hits(result: dict[str, Any], episodes: Mapping[str, EpisodeLabel]) -> list[Hit]:
    relevant = set(result["relevant"])
    return [
        Hit(
            rank=place,
            title=episodes[episode_id].title,
            show_title=episodes[episode_id].show_title,
            relevant=episode_id in relevant,
        )
        for place, episode_id in enumerate(result["top"][:RESULTS_SHOWN], start=1)
    ]
