"""Bringing the two answers of an index together: the nearest vectors, and the best words.

Cosines and BM25 scores cannot be compared. Each side's first :data:`DEPTH` are therefore brought to the range from 0 to
1, the last to 0 and the first to 1, and added with a weight. An episode that one side does not have gets 0 there.
(Bruch, Gai & Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, 2023, find convex combinations better than
reciprocal ranks; so did we: see benchmarks/RESULTS.md.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

DEPTH = 100
"""Answers of each side that are brought together."""

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


def fuse(dense: Scored, lexical: Scored, *, weight: float) -> list[Fused]:
    """One answer of two, best first, equal scores by id.

    :param weight: of the dense side; what is left to 1 is that of the lexical side.
    """
    dense, lexical = dense[:DEPTH], lexical[:DEPTH]
    near, said = _scaled(dense), _scaled(lexical)
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


def _scaled(answers: Scored) -> Mapping[str, float]:
    if not answers:
        return {}
    scores = [score for _, score in answers]
    low, high = min(scores), max(scores)
    return {key: (score - low) / (high - low) if high > low else 1.0 for key, score in answers}


def _places(answers: Scored) -> Mapping[str, Place]:
    return {key: Place(rank, score) for rank, (key, score) in enumerate(answers, start=1)}
