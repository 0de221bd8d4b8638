"""Training pairs from recorded events: a query, and the episode that its listener ended up playing or opening.

As at Spotify, these are queries of searches that ended with a played episode, and queries whose reformulation did. The
newest are held out for measuring.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from include.feedback.events import days, read_day
from include.feedback.sessions import Search, reformulated, sessions
from include.queries.filtering import query_key
from include.queries.logs import COLUMNS
from include.storage import ArtifactStore

SEARCHED, REFORMULATED = "searched", "reformulated"
"""Sources of pairs: the query of a successful search, and the unsuccessful one before it."""
MOST_A_SESSION = 5
MOST_AN_EPISODE = 50
"""Maximum number of queries per episode: those asked in the most sessions."""
HELD_OUT_SHARE = 0.2
"""Share of the pairs: the newest days that make it up are used for measuring and not for training."""


class Pair(NamedTuple):
    """A query and an episode, and in how many sessions they occurred together."""

    query: str
    episode_id: str
    weight: int
    source: str


class RecordedPairs(NamedTuple):
    """Pairs to train on, and pairs to measure with; no query is in both."""

    training: list[Pair]
    held_out: list[Pair]


def recorded_pairs(store: ArtifactStore) -> RecordedPairs:
    """The pairs of all that is kept."""
    by_day = {day: [_of_session(session) for session in sessions(read_day(store, day))] for day in days(store)}
    apart = _newest({day: sum(map(len, own)) for day, own in by_day.items()})
    held_out = _counted(pairs for day in apart for pairs in by_day[day])
    asked = {query_key(pair.query) for pair in held_out}
    training = _counted(pairs for day, own in by_day.items() if day not in apart for pairs in own)
    return RecordedPairs([pair for pair in training if query_key(pair.query) not in asked], held_out)


def as_csv(pairs: Iterable[Pair]) -> bytes:
    """Pairs as :func:`include.queries.logs.load_logs` reads them."""
    lines = io.StringIO(newline="")
    rows = csv.writer(lines, lineterminator="\n")
    rows.writerows([(*COLUMNS, "weight", "source"), *pairs])
    return lines.getvalue().encode()


def _of_session(searches: list[Search]) -> set[tuple[str, str, str]]:
    """Query, episode and source of each pair from a session; each once, up to the limit."""
    found: dict[tuple[str, str], tuple[str, str, str]] = {}
    for place, search in enumerate(searches):
        before = searches[place - 1] if place and reformulated(searches, place - 1) else None
        for episode in search.answers:
            for query, source in ((search.query, SEARCHED), (before.query if before else "", REFORMULATED)):
                if query:
                    found.setdefault((query_key(query), episode), (query, episode, source))
    return set(list(found.values())[:MOST_A_SESSION])


def _newest(pairs: dict[date, int]) -> set[date]:
    """The newest days that make up the held-out share of all pairs; never all days that have any."""
    dated = sorted(day for day, count in pairs.items() if count)
    wanted = HELD_OUT_SHARE * sum(pairs.values())
    chosen: set[date] = set()
    for day in dated[:0:-1]:
        if sum(pairs[one] for one in chosen) >= wanted:
            break
        chosen.add(day)
    return chosen


def _counted(of_sessions: Iterable[set[tuple[str, str, str]]]) -> list[Pair]:
    """Pairs with the number of their sessions; per episode, up to the limit."""
    texts: dict[tuple[str, str, str], str] = {}
    counts: Counter[tuple[str, str, str]] = Counter()
    for pairs in of_sessions:
        for query, episode, source in sorted(pairs):
            key = (query_key(query), episode, source)
            texts.setdefault(key, query)
            counts[key] += 1
    taken: Counter[str] = Counter()
    kept = []
    for key in sorted(counts, key=lambda key: (-counts[key], key)):
        taken[key[1]] += 1
        if taken[key[1]] <= MOST_AN_EPISODE:
            kept.append(Pair(texts[key], key[1], counts[key], key[2]))
    return sorted(kept)
