"""Daily search quality, judged by what listeners did: figures that contain no query, and whether they fell."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
from pydantic import BaseModel

from include.feedback import events
from include.feedback.sessions import reformulated, sessions
from include.storage import ArtifactStore

FOLDER = ("feedback", "days")
"""Has one file of figures per day. They are kept when the day's events are removed."""
OPEN_DAYS = 2
"""A play may belong to a search of the day before, so a day's figures can change until two days later."""
MOST_FILES = 20
"""How many files such a day may have before they are merged; older days have one."""
BEFORE = timedelta(days=28)
"""How many earlier days a day is compared with."""
ENOUGH_DAYS = 7
ENOUGH = 100
"""Searches (for ranks, plays) that a day needs to be compared; with fewer, nothing is said about it."""
FALSE_ALARMS = 0.005
"""How often, at most, an ordinary day is reported; the measures share this probability."""


class Day(BaseModel, frozen=True):
    """What became of a day's searches."""

    day: date
    searches: int = 0
    """Pages and filters of one query are one search."""
    played: int = 0
    """Searches with a play, however long."""
    reciprocal_ranks: float = 0.0
    """Sum over those: one divided by the rank of the first result that was played."""
    successful: int = 0
    """Searches that were a success (:attr:`include.feedback.sessions.Search.answers`)."""
    empty: int = 0
    """Of the others: nothing was found."""
    reformulated: int = 0
    """Something was, and another query followed soon."""
    abandoned: int = 0
    """Something was, and nothing followed."""

    def share(self, count: int) -> float | None:
        """Of the searches; None if there was none."""
        return count / self.searches if self.searches else None

    @property
    def success(self) -> float | None:
        """Share of successful searches."""
        return self.share(self.successful)

    @property
    def mrr(self) -> float | None:
        """Mean reciprocal rank of the plays."""
        return self.reciprocal_ranks / self.played if self.played else None


class Measure(NamedTuple):
    """A figure of a day that may fall, a mean of values from 0 to 1: its name, the mean, and of how many."""

    name: str
    value: Callable[[Day], float | None]
    counted: Callable[[Day], int]


class Fall(NamedTuple):
    """A figure that was lower on a day than chance and the days before explain."""

    measure: str
    day: date
    value: float
    usual: float
    limit: float
    """The lowest value that was to be expected."""
    counted: int


MEASURES = (
    Measure("share of successful searches", lambda day: day.success, lambda day: day.searches),
    Measure("mean reciprocal rank of what was played", lambda day: day.mrr, lambda day: day.played),
)


def figures(day: date, recorded: pa.Table) -> Day:
    """The figures of a day.

    :param recorded: all its events, in the shape of :data:`include.feedback.events.SCHEMA`.
    """
    counts: Counter[str] = Counter()
    ranks: list[float] = []
    for session in sessions(recorded):
        for place, search in enumerate(session):
            counts["searches"] += 1
            if search.played:
                counts["played"] += 1
                ranks.append(1 / min(search.ranks[episode] for episode in search.played))
            if search.answers:
                counts["successful"] += 1
            elif not search.found:
                counts["empty"] += 1
            else:
                counts["reformulated" if reformulated(session, place) else "abandoned"] += 1
    return Day(day=day, reciprocal_ranks=sum(ranks), **counts)


def update(store: ArtifactStore, *, now: datetime) -> list[Day]:
    """Bring the figures of all recorded days up to date. Returns those of all days ever recorded, oldest first.

    The files of each day are merged on the way. Only one process may do this at a time.
    """
    known = {name.removesuffix(".json") for name in store.names(*FOLDER)}
    for day in events.days(store):
        is_open = day >= now.date() - timedelta(days=OPEN_DAYS)
        events.compact(store, day, more_than=MOST_FILES if is_open else 1)
        if is_open or str(day) not in known:
            store.write_json(figures(day, events.read_day(store, day)).model_dump(mode="json"), *FOLDER, f"{day}.json")
    return load(store)


def load(store: ArtifactStore, most: int | None = None) -> list[Day]:
    """The figures of the last days that have any, oldest first.

    :param most: at most this many days; None: all.
    """
    names = store.names(*FOLDER)[-(most or 0) :]
    return [Day.model_validate(store.read_json(*FOLDER, name)) for name in names]


def falls(days: Sequence[Day], *, today: date) -> list[Fall] | None:
    """What fell on the last complete day; None if there is too little data to say.

    A value is low if it lies below what another day like those before would have (a prediction interval by Student's
    t). The deviation is that between days, or the chance variation within one day if that is larger.
    """
    yesterday = today - timedelta(days=1)
    last = next((day for day in days if day.day == yesterday), None)
    before = [day for day in days if yesterday - BEFORE <= day.day < yesterday]
    compared = [_compared(measure, last, before) for measure in MEASURES] if last else []
    if not any(compared):
        return None
    return [fall for fall in compared if fall and fall.value < fall.limit]


def _compared(measure: Measure, last: Day, before: Iterable[Day]) -> Fall | None:
    """A day beside those before it, whether it fell or not; None if there is too little to say."""
    from scipy import stats  # which the page of the figures need not load

    value, count = measure.value(last), measure.counted(last)
    usual = [found for day in before if measure.counted(day) >= ENOUGH and (found := measure.value(day)) is not None]
    if value is None or count < ENOUGH or len(usual) < ENOUGH_DAYS:
        return None
    mean = statistics.fmean(usual)
    by_chance = mean * (1 - mean) / count  # of values from 0 to 1 none have a larger variance
    deviation = math.sqrt(max(statistics.variance(usual), by_chance) * (1 + 1 / len(usual)))
    quantile = float(stats.t.isf(FALSE_ALARMS / len(MEASURES), len(usual) - 1))
    return Fall(measure.name, last.day, value, mean, mean - quantile * deviation, count)
