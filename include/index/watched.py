"""What ``watch_search`` observes of live search every hour, stored by day; and what has left the range of recent days.

Observations are compared within one namespace of one index only: another model's cosines mean something else, and
another index takes its own time.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel

from include.storage import ArtifactStore

log = logging.getLogger(__name__)

FOLDER = ("search", "watched")
"""Has one file of observations per day."""
SHARPLY = 0.1
"""An index that has lost more than this share of its records has fallen."""
WEEK = timedelta(days=7)
"""It is compared with the median of this period before."""
BEFORE = timedelta(days=28)
"""How many earlier days a day is compared with."""
COMPARED = BEFORE.days + 2
"""How many days of observations that takes, including today's."""
ENOUGH_DAYS = 7
ENOUGH_LOOKS = 6
"""The fewest observations of a day that is compared, and the fewest that a size is compared with."""
FALSE_ALARMS = 0.005
"""How often, at most, an ordinary day is reported; the measures share this probability."""
LESS_ALIKE = 0.02
"""A cosine that falls by less is not reported, however steady it was before."""
SLOWER = 1.5
"""Nor is a latency that grows by less than this factor."""


class Look(BaseModel, frozen=True):
    """One observation."""

    at: datetime
    index: str
    namespace: str
    records: int
    """In the namespace."""
    age: float
    """Of the snapshot that is live, in seconds."""
    score: float | None = None
    """Median cosine of the questions that search is known to answer and their episodes; None if it found none."""
    seconds: float | None = None
    """Median time that one of these questions took, asked one after the other."""


class Day(BaseModel, frozen=True):
    """The observations of one day: their medians, and how many there were."""

    day: date
    looks: int
    records: float
    age: float
    score: float | None
    seconds: float | None


class Change(NamedTuple):
    """A figure that has left the range of recent days.

    :param day: on which; None: now.
    :param limit: the bound of what was to be expected.
    """

    measure: str
    day: date | None
    value: float
    usual: float
    limit: float


class Measure(NamedTuple):
    """A figure of a day that may leave the range of the days before.

    :param scale: on which days are compared, larger being worse; ``back`` is its inverse.
    :param trifle: by how much on that scale a figure may always be worse.
    """

    name: str
    figure: Callable[[Day], float | None]
    scale: Callable[[float], float]
    back: Callable[[float], float]
    trifle: float


SIZE, SCORE, LATENCY = "size", "score", "latency"
MEASURES = (
    Measure(SCORE, lambda day: day.score, lambda value: -value, lambda scaled: -scaled, LESS_ALIKE),
    Measure(LATENCY, lambda day: day.seconds, lambda value: math.log(max(value, 1e-6)), math.exp, math.log(SLOWER)),
)


def note(store: ArtifactStore, look: Look) -> None:
    """Add an observation to its day. Only one process may do this at a time."""
    name = f"{look.at.date()}.json"
    looks = [*_read(store, name), look]
    store.write_json({"looks": [one.model_dump(mode="json") for one in looks]}, *FOLDER, name)


def load(store: ArtifactStore, *, most: int) -> list[Look]:
    """The observations of the last days that have any, oldest first.

    :param most: at most this many days.
    """
    return [look for name in store.names(*FOLDER)[-most:] for look in _read(store, name)]


def by_day(looks: Sequence[Look]) -> list[Day]:
    """The days of some looks, in order."""
    found: dict[date, list[Look]] = {}
    for look in looks:
        found.setdefault(look.at.date(), []).append(look)
    return [
        Day(
            day=day,
            looks=len(own),
            records=statistics.median(look.records for look in own),
            age=statistics.median(look.age for look in own),
            score=_median([look.score for look in own]),
            seconds=_median([look.seconds for look in own]),
        )
        for day, own in sorted(found.items())
    ]


def changes(looks: Sequence[Look]) -> list[Change]:
    """How the last observation, and the last complete day before it, differ from those before.

    - **Size**: more than :data:`SHARPLY` less than the median of the week before.
    - **Score and latency**: the day's median is outside the range of another day like those before (a prediction
      interval by Student's t; latencies by their logarithms), and by enough to matter (:data:`LESS_ALIKE`,
      :data:`SLOWER`).

    :param looks: of the last :data:`COMPARED` days; those of another namespace or index than the last are ignored.
    """
    if not looks:
        return []
    last = looks[-1]
    own = [look for look in looks if (look.index, look.namespace) == (last.index, last.namespace)]
    days = [day for day in by_day(own) if day.looks >= ENOUGH_LOOKS]
    yesterday = last.at.date() - timedelta(days=1)
    day = next((one for one in days if one.day == yesterday), None)
    before = [one for one in days if yesterday - BEFORE <= one.day < yesterday]
    left = [_beyond(measure, day, before) for measure in MEASURES] if day else []
    return [found for found in (_size(last, own[:-1]), *left) if found]


def _size(last: Look, before: Sequence[Look]) -> Change | None:
    week = [look.records for look in before if look.at >= last.at - WEEK]
    if len(week) < ENOUGH_LOOKS:
        return None
    usual = statistics.median(week)
    limit = (1 - SHARPLY) * usual
    return Change(SIZE, None, last.records, usual, limit) if last.records < limit else None


def _beyond(measure: Measure, day: Day, before: Sequence[Day]) -> Change | None:
    """A day compared with those before it, if it is outside their range."""
    from scipy import stats  # which the page of what is live need not load

    value = measure.figure(day)
    usual = [measure.scale(found) for one in before if (found := measure.figure(one)) is not None]
    if value is None or len(usual) < ENOUGH_DAYS:
        return None
    mean = statistics.fmean(usual)
    deviation = statistics.stdev(usual) * math.sqrt(1 + 1 / len(usual))
    quantile = float(stats.t.isf(FALSE_ALARMS / len(MEASURES), len(usual) - 1))
    limit = mean + max(quantile * deviation, measure.trifle)
    if measure.scale(value) <= limit:
        return None
    return Change(measure.name, day.day, value, measure.back(mean), measure.back(limit))


def _median(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None


class _Kept(BaseModel):
    """A day's file."""

    looks: list[Look]


def _read(store: ArtifactStore, name: str) -> list[Look]:
    try:
        kept = store.read_json_if_there(*FOLDER, name)
        return [] if kept is None else _Kept.model_validate(kept).looks
    except ValueError:
        log.warning("%s is damaged, and left out.", "/".join((*FOLDER, name)))
        return []
