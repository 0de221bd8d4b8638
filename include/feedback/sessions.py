"""Recorded events as sessions: what somebody searched, one query after the other, and what became of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import pyarrow as pa

from include.queries.filtering import query_key

ENOUGH_SECONDS = 30.0
"""Whoever listened for so long meant to."""
SOON = timedelta(minutes=5)
"""Another query within so long says the same in other words; later it is another wish."""
MOST_SEARCHES = 100
"""A session with more of them in a day is a program's."""


@dataclass(slots=True)
class Search:
    """A query with all the pages and filters that were looked at in a row, and what was opened and played of it.

    :param ids: of the searches that were recorded.
    :param ranks: the best rank at which each episode was shown.
    :param opened: episodes whose page was opened, in order.
    :param played: for how many seconds each was played.
    """

    query: str
    at: datetime
    ids: set[str] = field(default_factory=set)
    ranks: dict[str, int] = field(default_factory=dict)
    found: int = 0
    opened: list[str] = field(default_factory=list)
    played: dict[str, float] = field(default_factory=dict)

    @property
    def answers(self) -> list[str]:
        """The episodes that it was a success with, none if it was none.

        Those that were played for :data:`ENOUGH_SECONDS`. Where nothing was played, the last that was opened, but not
        the first result: that is opened because it stands there.
        """
        if self.played:
            return [episode for episode, seconds in self.played.items() if seconds >= ENOUGH_SECONDS]
        return [episode for episode in self.opened[-1:] if self.ranks[episode] > 1]


def sessions(events: pa.Table) -> Iterator[list[Search]]:
    """The sessions of a day, each with its searches in order. Programs' are left out.

    :param events: in the shape of :data:`include.feedback.events.SCHEMA`, in order. What was opened or played counts
        only if that search, of that session, has shown it.
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
        search.ids.add(row["search"])
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
