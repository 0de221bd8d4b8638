"""Recorded events as sessions: what somebody searched for, query by query, and what became of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import pyarrow as pa

from include.queries.filtering import query_key

ENOUGH_SECONDS = 30.0
"""Whoever listened for this long meant to."""
SOON = timedelta(minutes=5)
"""Another query within this time is a reformulation; after that, it is a new need."""
MOST_SEARCHES = 100
"""A session with more searches in a day is a program's."""


@dataclass(slots=True)
class Search:
    """A query with all its pages and filters viewed in a row, and which results were opened and played.

    :param ranks: the best rank at which each episode was shown.
    :param opened: episodes whose page was opened, in order.
    :param played: for how many seconds each was played.
    """

    query: str
    at: datetime
    ranks: dict[str, int] = field(default_factory=dict)
    found: int = 0
    opened: list[str] = field(default_factory=list)
    played: dict[str, float] = field(default_factory=dict)

    @property
    def answers(self) -> list[str]:
        """The episodes that made it a success; none if it was not successful.

        These are the ones played for :data:`ENOUGH_SECONDS`. If nothing was played, it is the last one opened, unless
        that was the first result, which is opened because it comes first.
        """
        if self.played:
            return [episode for episode, seconds in self.played.items() if seconds >= ENOUGH_SECONDS]
        return [episode for episode in self.opened[-1:] if self.ranks[episode] > 1]


def sessions(events: pa.Table) -> Iterator[list[Search]]:
    """The sessions of a day, each with its searches in order. Programs' are left out.

    :param events: in the shape of :data:`include.feedback.events.SCHEMA`, in order. Episodes opened or played count
        only if that search, in that session, showed them.
    """
    rows = events.sort_by([("session", "ascending"), ("at", "ascending")]).to_pylist()
    for _, own in groupby(rows, key=lambda row: row["session"]):
        searches = _searches(list(own))
        if 0 < len(searches) <= MOST_SEARCHES:
            yield searches


def reformulated(searches: list[Search], place: int) -> bool:
    """Whether a search came to nothing, and was soon followed by another."""
    following = searches[place + 1 : place + 2]
    return not searches[place].answers and any(one.at - searches[place].at <= SOON for one in following)


def _searches(rows: list[dict[str, Any]]) -> list[Search]:
    found: list[Search] = []
    by_id: dict[str, Search] = {}
    for row in rows:
        if row["kind"] != "search":
            continue
        if not found or query_key(found[-1].query) != query_key(row["query"]):
            found.append(Search(row["query"], row["at"]))
        search = by_id[row["search"]] = found[-1]
        search.found = max(search.found, row["found"])
        for rank, episode in enumerate(row["shown"], start=row["first"]):
            search.ranks[episode] = min(rank, search.ranks.get(episode, rank))
    for row in rows:
        shown_by = by_id.get(row["search"])
        episode = row["episode"]
        if row["kind"] == "search" or shown_by is None or episode not in shown_by.ranks:
            continue
        if row["kind"] == "opened":
            shown_by.opened.append(episode)
        else:
            shown_by.played[episode] = max(row["seconds"], shown_by.played.get(episode, 0.0))
    return found
