"""Bringing the two answers of an index together: the nearest vectors, and the best words.

Cosines and BM25 scores cannot be compared. Each side's first :data:`DEPTH` are therefore brought to the range from 0
to 1, the last to 0 and the first to 1, and added with a weight; an episode that one side does not have gets 0 there.
Bruch, Gai & Ingber (An Analysis of Fusion Functions for Hybrid Retrieval, 2023) find such convex combinations better
than reciprocal ranks, and so did we (benchmarks/RESULTS.md).

But the best of the words is 1 then, even if it shares no more than “the” with the query. So the words' say depends on
how well they fit at all: on :func:`confidence`. Names and titles are found by their words, needs by their meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from include.queries.titles import count_words

DEPTH = 100
"""Answers of each side that are brought together."""

RARE = 0.5
"""Of what a word scores that only one episode has: words that score so much on average have their whole say."""

Scored = Sequence[tuple[str, float]]
"""Episode ids with their scores, best first."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one side has an episode: its rank from 1, and that side's own score."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Fused:
    """An episode in the answer of both sides together, and where each has it, if it has."""

    episode_id: str
    score: float
    dense: Place | None
    lexical: Place | None


def fuse(dense: Scored, lexical: Scored, *, weight: float, trust: float = 1.0) -> list[Fused]:
    """One answer of two, best first, equal scores by id.

    :param weight: of the dense side; what is left to 1 is that of the lexical side.
    :param trust: in the lexical side for this query (:func:`confidence`).
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
    """One answer to a query, as search gives it and evaluation measures it: words have the say that they deserve.

    :param weight: as in :func:`fuse`.
    :param episodes: as in :func:`confidence`.
    """
    return fuse(dense, lexical, weight=weight, trust=confidence(query, lexical, episodes=episodes))


def confidence(query: str, lexical: Scored, *, episodes: int) -> float:
    """How far the words of a query can be trusted to name what is meant, from 0 to 1.

    It is the square of what each word of the query scores on average in the best episode, as a share of :data:`RARE` of
    the logarithm of the catalogue's size, about which BM25 gives for a word that a single episode has.

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
