"""Sessions are what their listeners did; what others claim they did is none of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from include.feedback.events import new_session, read_day
from include.feedback.sessions import MOST_SEARCHES, Search, reformulated, sessions
from include.storage import ArtifactStore
from tests.include.feedback.listening import MONDAY, Listening

Read = Callable[[], list[list[Search]]]


@pytest.fixture
def listening(tmp_path: Path) -> Listening:
    return Listening(ArtifactStore(tmp_path))


@pytest.fixture
def read(listening: Listening, tmp_path: Path) -> Read:
    def all_of_the_day() -> list[list[Search]]:
        listening.write()
        return list(sessions(read_day(ArtifactStore(tmp_path), MONDAY.date())))

    return all_of_the_day


def test_pages_and_filters_of_a_query_are_one_search(listening: Listening, read: Read) -> None:
    listening.search("Rocket", ["e1", "e2"])
    second = listening.search("rocket ", ["e3", "e1"], first=11)
    listening.search("moon", ["e1"])
    listening.open(second, "e3")
    ((rocket, moon),) = read()
    assert rocket.ranks == {"e1": 1, "e2": 2, "e3": 11}
    assert rocket.opened == ["e3"]
    assert moon.ranks == {"e1": 1}


def test_what_was_not_shown_or_to_somebody_else_does_not_count(listening: Listening, read: Read) -> None:
    search = listening.search("rocket", ["e1"])
    listening.play(search, "e9")
    listening.session = new_session()
    listening.play(search, "e1")
    listening.open(f"{search[:8]}-{'a' * 22}", "e1")
    ((rocket,),) = read()
    assert rocket.played == {}
    assert rocket.opened == []


def test_a_play_that_is_told_again_counts_once_with_its_longest(listening: Listening, read: Read) -> None:
    search = listening.search("rocket", ["e1"])
    for seconds in (5, 40, 20):
        listening.play(search, "e1", seconds)
    ((rocket,),) = read()
    assert rocket.played == {"e1": 40}


def test_programs_that_search_all_day_are_left_out(listening: Listening, read: Read) -> None:
    for number in range(MOST_SEARCHES + 1):
        listening.search(f"query no {number}")
    listening.somebody_else()
    listening.search("rocket")
    assert [[one.query for one in session] for session in read()] == [["rocket"]]


@pytest.mark.parametrize(
    ("done", "answers"),
    [
        ([], []),
        ([("open", "e1")], []),  # the first result is opened because it is the first
        ([("open", "e2")], ["e2"]),
        ([("open", "e2"), ("open", "e3")], ["e3"]),
        ([("open", "e2"), ("open", "e1")], []),
        ([("play", "e1", 60)], ["e1"]),
        ([("play", "e1", 20)], []),
        ([("open", "e2"), ("play", "e3", 60)], ["e3"]),
        ([("open", "e2"), ("play", "e2", 5)], []),  # it was not what they wanted
    ],
)
def test_a_success_is_what_was_heard_or_chosen(
    listening: Listening, read: Read, done: list[tuple[str, ...]], answers: list[str]
) -> None:
    search = listening.search("rocket", ["e1", "e2", "e3"])
    for action, *what in done:
        getattr(listening, action)(search, *what)
    ((rocket,),) = read()
    assert rocket.answers == answers


@pytest.mark.parametrize(("after", "expected"), [(60, True), (3_600, False)])
def test_a_reformulation_comes_soon_after_what_came_to_nothing(
    listening: Listening, read: Read, after: float, expected: bool
) -> None:
    listening.search("rocket")
    moon = listening.search("moon", after=after)
    listening.play(moon, "e1")
    listening.search("mars")
    (session,) = read()
    assert reformulated(session, 0) is expected
    assert not reformulated(session, 1)
    assert not reformulated(session, 2)
