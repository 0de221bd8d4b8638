"""What became of searches is counted once each, and a fall is reported only where it is one."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from include.feedback.events import read_day, remove_old
from include.feedback.figures import ENOUGH, ENOUGH_DAYS, Day, falls, figures, load, update
from include.feedback.page import queries_page
from include.storage import ArtifactStore
from tests.include.feedback.listening import MONDAY, Listening

TODAY = date(2026, 11, 29)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def listen(listening: Listening) -> None:
    """A listener finds nothing, says it otherwise, plays; then opens the first result, and goes."""
    listening.search("xyzzy", [])
    listening.search("cannot sleep")
    asleep = listening.search("falling asleep", ["e1", "e2", "e3", "e4"])
    listening.play(asleep, "e4", 90)
    listening.play(asleep, "e2", 5)
    rocket = listening.search("rocket", after=3_600)
    listening.open(rocket, "e1")


def test_every_search_is_of_one_kind(store: ArtifactStore) -> None:
    listening = Listening(store)
    listen(listening)
    listening.write()
    found = figures(MONDAY.date(), read_day(store, MONDAY.date()))
    assert found == Day(
        day=MONDAY.date(),
        searches=4,
        played=1,
        reciprocal_ranks=1 / 2,
        successful=1,
        empty=1,
        reformulated=1,
        abandoned=1,
    )
    assert (found.success, found.mrr) == (1 / 4, 1 / 2)
    assert Day(day=TODAY).success is None


def test_figures_stay_when_the_day_is_removed_and_follow_what_is_told_late(store: ArtifactStore) -> None:
    listening = Listening(store)
    search = listening.search("rocket")
    listening.write()
    (before,) = update(store, now=listening.at)
    listening.at += timedelta(days=1)
    listening.play(search, "e1")
    listening.write()
    (after,) = update(store, now=listening.at)
    assert (before.successful, after.successful) == (0, 1)
    listening.somebody_else(days=40)
    listening.search("moon")
    listening.write()
    remove_old(store, 30, now=listening.at)
    assert [day.searches for day in update(store, now=listening.at)] == [1, 1]
    assert load(store, most=1)[0].day == listening.at.date()


def test_what_will_not_change_any_more_is_not_counted_again(store: ArtifactStore) -> None:
    listening = Listening(store)
    listening.search("rocket")
    listening.write()
    update(store, now=listening.at + timedelta(days=3))
    wrong = Day(day=MONDAY.date(), searches=77)
    store.write_json(wrong.model_dump(mode="json"), "feedback", "days", f"{MONDAY.date()}.json")
    assert update(store, now=listening.at + timedelta(days=4)) == [wrong]


def day(ago: int, *, success: float = 0.4, searches: int = 1_000, rank: float = 0.5) -> Day:
    count = round(success * searches)
    return Day(
        day=TODAY - timedelta(days=ago),
        searches=searches,
        successful=count,
        played=count,
        reciprocal_ranks=rank * count,
        abandoned=searches - count,
    )


BEFORE = [day(ago, success=0.38 + 0.01 * (ago % 5)) for ago in range(2, 20)]


@pytest.mark.parametrize(
    ("yesterday", "fallen"),
    [
        (day(1, success=0.39), []),
        (day(1, success=0.55), []),
        (day(1, success=0.3), ["share of successful searches"]),
        (day(1, rank=0.3), ["mean reciprocal rank of what was played"]),
        (day(1, success=0.3, rank=0.3), ["share of successful searches", "mean reciprocal rank of what was played"]),
        (day(1, success=0.3, searches=ENOUGH), []),  # chance alone gives as much
    ],
)
def test_a_fall_is_one_that_neither_days_nor_chance_give(yesterday: Day, fallen: list[str]) -> None:
    found = falls([*BEFORE, yesterday], today=TODAY)
    assert found is not None
    assert [fall.measure for fall in found] == fallen
    assert all(fall.day == yesterday.day and fall.value < fall.limit < fall.usual for fall in found)


@pytest.mark.parametrize(
    "days",
    [
        [],
        BEFORE,
        [*BEFORE, day(0, success=0.1)],
        [*BEFORE, day(1, success=0.1, searches=ENOUGH - 1)],
        [*BEFORE[: ENOUGH_DAYS - 1], day(1, success=0.1)],
        [*(day(ago, searches=ENOUGH - 1) for ago in range(2, 20)), day(1, success=0.1)],
        [*(day(ago) for ago in range(30, 60)), day(1, success=0.1)],
    ],
)
def test_of_too_little_nothing_is_said(days: list[Day]) -> None:
    assert falls(days, today=TODAY) is None


def test_days_that_are_like_the_others_are_seldom_reported() -> None:
    """Drawn with the same share, and with shares that differ between days, as they do in a week."""
    chance = np.random.default_rng(7)
    reported = 0
    for number in range(1_000):
        spread = 0.03 if number % 2 else 0.0
        shares = chance.binomial(400, np.clip(chance.normal(0.4, spread, 15), 0, 1)) / 400
        days = [day(ago, success=share, searches=400) for ago, share in enumerate(shares, start=1)]
        reported += bool(falls(days, today=TODAY))
    assert reported <= 12, "one in 200 is meant to be"


def test_the_page_shows_the_days_and_says_so_where_there_are_none(store: ArtifactStore) -> None:
    assert "Nothing has been recorded yet" in queries_page(store)
    listening = Listening(store)
    listen(listening)
    listening.somebody_else(days=1)
    listening.search("<script>")
    listening.write()
    update(store, now=listening.at)
    page = queries_page(store, today=TODAY)
    assert page.index("2026-11-03") < page.index("2026-11-02</time>"), "the newest first"
    assert page.count("25.0 %") >= 5
    assert ">0.500<" in page
    assert page.count("<polyline") == 3
    assert "<polyline" not in queries_page(store, today=listening.at.date()), "one whole day is no trend"
    assert not any(query in page for query in ("rocket", "asleep", "&lt;script")), "what was searched is not shown"
