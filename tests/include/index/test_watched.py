"""What watch_search sees is kept by day, and what leaves recent days is told, in one namespace."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

import pytest

from include.index.watched import (
    BEFORE,
    COMPARED,
    ENOUGH_DAYS,
    ENOUGH_LOOKS,
    FOLDER,
    LATENCY,
    SCORE,
    SIZE,
    Change,
    Look,
    by_day,
    changes,
    load,
    note,
)
from include.storage import ArtifactStore

TODAY = date(2026, 3, 1)


def look(ago: int, hour: int = 12, **values: object) -> Look:
    at = datetime.combine(TODAY - timedelta(days=ago), time(hour, 30), UTC)
    usual = {
        "index": "podsearch",
        "namespace": "m1-format3",
        "records": 1_000,
        "age": 3_600.0,
        "score": 0.65,
        "seconds": 0.04,
    }
    return Look.model_validate({"at": at, **usual, **values})


def looks(days: int = 10, **yesterday: object) -> list[Look]:
    """Six a day of some days that differ a little, then of yesterday, and one of today."""
    found = [
        look(ago, hour, score=0.65 + 0.01 * (ago % 3), seconds=0.04 * (1 + 0.05 * (ago % 4)))
        for ago in range(days + 1, 1, -1)
        for hour in range(ENOUGH_LOOKS)
    ]
    return [*found, *(look(1, hour, **yesterday) for hour in range(ENOUGH_LOOKS)), look(0)]


def named(found: list[Change]) -> list[str]:
    return [change.measure for change in found]


def test_looks_are_kept_by_day_and_the_last_days_read(store: ArtifactStore) -> None:
    kept = [look(2), look(1, 3), look(1, 4), look(0)]
    for one in kept:
        note(store, one)
    assert store.names(*FOLDER) == ["2026-02-27.json", "2026-02-28.json", "2026-03-01.json"]
    assert load(store, most=10) == kept
    assert load(store, most=2) == kept[1:]


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b'{"looks": [1]}'])
def test_a_damaged_day_is_begun_anew(store: ArtifactStore, damage: bytes) -> None:
    note(store, look(1))
    store.write_bytes(damage, *FOLDER, f"{TODAY}.json")
    assert load(store, most=10) == [look(1)]
    note(store, look(0))
    assert load(store, most=10) == [look(1), look(0)]


def test_a_day_is_the_median_of_its_looks() -> None:
    first, second = by_day(
        [look(1, 1, seconds=0.1), look(1, 2, seconds=0.3), look(1, 3, seconds=9), look(0, score=None)]
    )
    assert (first.day, first.looks, first.seconds) == (TODAY - timedelta(days=1), 3, 0.3)
    assert (second.score, second.records) == (None, 1_000)


def test_days_like_the_others_are_not_told() -> None:
    assert changes([]) == []
    assert changes(looks(score=0.66, seconds=0.045)) == []


def test_an_index_that_lost_more_than_a_tenth_is_told_at_once_until_it_is_usual() -> None:
    assert changes([*looks()[:-1], look(0, records=901)]) == []
    (change,) = changes([*looks()[:-1], look(0, records=899)])
    assert change == Change(SIZE, None, 899, 1_000, 900)
    for days in range(1, 9):
        own = [look(ago, hour, records=500 if ago < days else 1_000) for ago in range(9, -1, -1) for hour in range(6)]
        assert named(changes(own)) == ([SIZE] if days < 4 else []), "half of the week before is as it is now then"


def test_a_few_looks_say_nothing_of_a_size() -> None:
    assert changes([*(look(0, hour) for hour in range(5)), look(0, 6, records=1)]) == []
    assert named(changes([*(look(0, hour) for hour in range(6)), look(0, 7, records=1)])) == [SIZE]


def test_a_day_on_which_scores_fell_is_told_and_one_on_which_they_rose_is_not() -> None:
    (change,) = changes(looks(score=0.4))
    assert (change.measure, change.day, change.value) == (SCORE, TODAY - timedelta(days=1), 0.4)
    assert change.usual == pytest.approx(0.66, abs=0.005)
    assert 0.6 < change.limit < 0.65
    assert changes(looks(score=0.9)) == []


def test_a_day_that_was_slower_is_told_and_one_that_was_quicker_is_not() -> None:
    (change,) = changes(looks(seconds=0.1))
    assert (change.measure, change.value) == (LATENCY, 0.1)
    assert change.usual == pytest.approx(0.043, abs=0.001)
    assert change.limit == pytest.approx(1.5 * change.usual), "these days are so alike that less would be a trifle"
    assert changes(looks(seconds=0.001)) == []


def test_however_alike_days_were_a_trifle_is_not_told() -> None:
    """The same questions have the same cosines every day: any change would be beyond what such days show."""
    same = [look(ago, hour) for ago in range(20, 1, -1) for hour in range(6)]

    def after(**values: object) -> list[str]:
        return named(changes([*same, *(look(1, hour, **values) for hour in range(6)), look(0)]))

    assert after(score=0.635, seconds=0.059) == []
    assert after(score=0.625, seconds=0.061) == [SCORE, LATENCY]


def test_too_little_to_compare_says_nothing() -> None:
    assert named(changes(looks(ENOUGH_DAYS, score=0.1))) == [SCORE]
    assert changes(looks(ENOUGH_DAYS - 1, score=0.1)) == []
    whole = looks(score=0.1)
    assert changes([one for one in whole if one.at.hour or one.at.date() != TODAY - timedelta(days=1)]) == []
    assert changes([one.model_copy(update={"score": None, "seconds": None}) for one in whole]) == []


def test_another_model_is_compared_with_nothing_before_it() -> None:
    """Its cosines mean something else, and its index may be another."""
    before = looks(seconds=0.001, score=0.9)
    switched = [look(1, hour, namespace="m2-format3", score=0.2, seconds=1.0, records=10) for hour in range(6, 14)]
    assert changes([*before[:-1], *switched, look(0, namespace="m2-format3", score=0.2, records=10)]) == []
    moved = [look(1, hour, index="elsewhere", seconds=1.0) for hour in range(6, 14)]
    assert changes([*before[:-1], *moved, look(0, index="elsewhere")]) == [], "a namespace keeps its name when it moves"
    # And what is live again after it is held against its own days alone.
    assert changes([*looks(score=0.66)[:-1], *switched, look(0)]) == []


def test_looks_of_long_ago_do_not_count() -> None:
    old = [look(ago, hour, score=0.1) for ago in range(BEFORE.days + 10, BEFORE.days + 1, -1) for hour in range(6)]
    assert changes([*old, *looks(score=0.4)])[0].usual == pytest.approx(0.66, abs=0.005)
    assert BEFORE.days + 2 == COMPARED


def ordinary(chance: random.Random, days: int) -> Iterator[list[Look]]:
    """Day for day, the looks of some weeks as they come: a machine that is busier on some days and at night, canaries
    that are chosen anew with each snapshot, a catalogue that grows and loses a little."""
    records = 10_000.0
    past: list[list[Look]] = []
    for number in range(days):
        busy, score = chance.gauss(0, 0.15), statistics.median(chance.gauss(0.65, 0.1) for _ in range(10))
        records *= 1 + chance.gauss(0.001, 0.01)
        day = []
        for hour in range(24):
            seconds = 0.04 * math.exp(busy + chance.gauss(0, 0.3)) * (5 if hour in (2, 3, 4) else 1)
            values = {"records": int(records), "score": score, "seconds": seconds}
            day.append(look(-number, hour, **values))
        past = [*past[-COMPARED:], day]
        if number > BEFORE.days:
            yield [one for own in past for one in own]


def test_ordinary_days_are_told_once_in_two_hundred_at_most() -> None:
    told = [bool(changes(past)) for past in ordinary(random.Random(5), 430)]
    assert len(told) == 401
    assert sum(told) <= 5, "two of them are to be expected"


def test_extraordinary_days_are_told() -> None:
    """A machine that is three times as slow all day; a model whose vectors are not those of the index."""
    yesterday = -1
    for past in ordinary(random.Random(6), 40):
        day = sorted({one.at.date() for one in past})[yesterday - 1]

        def changed(one: Look, day: date = day, **values: object) -> Look:
            return one.model_copy(update=values) if one.at.date() == day else one

        slow = [changed(one, seconds=3 * (one.seconds or 0)) for one in past]
        foreign = [changed(one, score=0.05) for one in past]
        assert named(changes(slow)) == [LATENCY]
        assert named(changes(foreign)) == [SCORE]
