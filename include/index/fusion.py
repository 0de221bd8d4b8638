"""Combining the two answers of an index: the nearest vectors, and the best word matches.

Cosines and BM25 scores cannot be compared. Each side's first :data:`DEPTH` are therefore scaled to the range from 0 to
1, the last to 0 and the first to 1, and added with a weight; an episode that one side does not have gets 0 there.
Bruch, Gai & Ingber (An Analysis of Fusion Functions for Hybrid Retrieval, 2023) find such convex combinations better
than reciprocal ranks, and so did we (benchmarks/RESULTS.md).

But then the best word match scores 1, even if it shares no more than “the” with the query. So the weight of words
depends on how well they fit at all: on :func:`confidence`. Names and titles are found by words, needs by meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from include.queries.titles import count_words

DEPTH = 100
"""How many answers of each side are combined."""

RARE = 0.5
"""Share of the score of a word that only one episode has: words that score this much on average get their full
weight."""

Scored = Sequence[tuple[str, float]]
"""Episode ids with their scores, best first."""


@dataclass(frozen=True, slots=True)
class Place:
    """An episode's place on one side: its rank from 1, and that side's own score."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Fused:
    """An episode in the combined answer, and its place on each side that has it."""

    episode_id: str
    score: float
    dense: Place | None
    lexical: Place | None


def fuse(dense: Scored, lexical: Scored, *, weight: float, trust: float = 1.0) -> list[Fused]:
    """Combine two answers into one, best first, equal scores by id.

    :param weight: of the dense side; the lexical side gets the rest up to 1.
    :param trust: in the lexical side for this query (:func:`confidence`).

    >>> vectors, words = [("near", 0.9), ("far", 0.8)], [("said", 7.0), ("near", 5.0), ("far", 3.0)]
    >>> [one.episode_id for one in fuse(vectors, words, weight=0.5)]
    ['near', 'said', 'far']
    """
    dense, lexical = dense[:DEPTH], lexical[:DEPTH]
    near = _scaled(dense)
    said = {key: trust * score for key, score in _scaled(lexical).items()}
    places_near, places_said = _places(dense), _places(lexical)
    fused = [
        Fused(
            key,
            weight * near.get(key, 0.0) + (1 - weight) * said.get(key, 0.0),
            places_near.get(key),
            places_said.get(key),
        )
        for key in dict.fromkeys([*near, *said])
    ]
    return sorted(fused, key=lambda one: (-one.score, one.episode_id))


def together(query: str, dense: Scored, lexical: Scored, *, weight: float, episodes: int) -> list[Fused]:
    """One answer to a query, as search gives it and evaluation measures it, with words weighted by how well they fit.

    :param weight: as in :func:`fuse`.
    :param episodes: as in :func:`confidence`.
    """
    return fuse(dense, lexical, weight=weight, trust=confidence(query, lexical, episodes=episodes))


def confidence(query: str, lexical: Scored, *, episodes: int) -> float:
    """How far the words of a query can be trusted to name what is meant, from 0 to 1.

    It is the square of the average score per query word in the best episode, as a share of :data:`RARE` of the
    logarithm of the catalogue's size, which is roughly what BM25 gives for a word that only one episode has.

    :param episodes: in the catalogue.
    """
    if not lexical:
        return 0.0
    rare = RARE * math.log(max(episodes, 2))
    return min(1.0, lexical[0][1] / max(count_words(query), 1) / rare) ** 2


def _scaled(answers: Scored) -> Mapping[str, float]:
    if not answers:
        return {}
    scores = [score for _, score in answers]
    low, high = min(scores), max(scores)
    return {key: (score - low) / (high - low) if high > low else 1.0 for key, score in answers}


def _places(answers: Scored) -> Mapping[str, Place]:
    return {key: Place(rank, score) for rank, (key, score) in enumerate(answers, start=1)}
