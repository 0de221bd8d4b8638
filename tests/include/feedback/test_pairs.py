"""Pairs are of successes, count sessions and not clicks, and what measures does not train."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.feedback.pairs import MOST_A_SESSION, MOST_AN_EPISODE, Pair, as_csv, recorded_pairs
from include.queries.logs import load_logs
from include.storage import ArtifactStore
from tests.include.feedback.listening import Listening


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def listening(store: ArtifactStore) -> Listening:
    return Listening(store)


def test_a_success_teaches_its_query_and_the_one_before_it(store: ArtifactStore, listening: Listening) -> None:
    listening.search("cannot sleep")
    listening.play(listening.search("falling asleep"), "e2")
    listening.search("something else")
    listening.write()
    assert recorded_pairs(store).training == [
        Pair("cannot sleep", "e2", 1, "reformulated"),
        Pair("falling asleep", "e2", 1, "searched"),
    ]


def test_who_looks_for_something_else_later_teaches_nothing_of_it(store: ArtifactStore, listening: Listening) -> None:
    listening.search("cannot sleep")
    listening.play(listening.search("tomatoes", after=3_600), "e2")
    listening.write()
    assert [pair.query for pair in recorded_pairs(store).training] == ["tomatoes"]


def test_a_pair_counts_once_a_session(store: ArtifactStore, listening: Listening) -> None:
    for _ in range(3):
        listening.play(listening.search("Rocket"), "e1")
        listening.search("moon")
    listening.somebody_else()
    listening.play(listening.search("rocket"), "e1")
    listening.write()
    (pair,) = (pair for pair in recorded_pairs(store).training if pair.source == "searched")
    assert (pair.episode_id, pair.weight) == ("e1", 2)


def test_neither_a_session_nor_an_episode_crowds_out_the_others(store: ArtifactStore, listening: Listening) -> None:
    for number in range(MOST_A_SESSION + 3):
        listening.play(listening.search(f"query no {number}", after=3_600), "e1")
    listening.write()
    assert len(recorded_pairs(store).training) == MOST_A_SESSION
    for number in range(MOST_AN_EPISODE + 3):
        listening.somebody_else()
        listening.play(listening.search(f"wish no {number}"), "e2")
    for _ in range(2):
        listening.somebody_else()
        listening.play(listening.search("zebra"), "e2")
    listening.write()
    own = [pair for pair in recorded_pairs(store).training if pair.episode_id == "e2"]
    assert len(own) == MOST_AN_EPISODE
    assert Pair("zebra", "e2", 2, "searched") in own


def test_the_newest_days_are_held_out_and_none_of_their_queries_is_trained_on(
    store: ArtifactStore, listening: Listening
) -> None:
    for day in range(5):
        for query in (f"wish of day {day}", "what all want"):
            listening.somebody_else()
            listening.play(listening.search(query), "e1")
        listening.somebody_else(days=1)
    listening.write()
    pairs = recorded_pairs(store)
    assert [pair.query for pair in pairs.held_out] == ["what all want", "wish of day 4"]
    assert [pair.query for pair in pairs.training] == [f"wish of day {day}" for day in range(4)]


def test_of_a_single_day_nothing_is_held_out(store: ArtifactStore, listening: Listening) -> None:
    listening.play(listening.search("rocket"), "e1")
    listening.write()
    assert len(recorded_pairs(store).training) == 1
    assert recorded_pairs(store).held_out == []


def test_training_reads_the_pairs_as_search_logs(tmp_path: Path) -> None:
    file = tmp_path / "logs.csv"
    file.write_bytes(as_csv([Pair('a "rocket", quickly', "e1", 3, "searched"), Pair("soil", "e2", 1, "reformulated")]))
    logs = load_logs([file], {"e1", "e2"}, curated=[])
    (rocket,) = logs.by_episode["e1"]
    assert (rocket.text, rocket.weight, rocket.origin) == ('a "rocket", quickly', 3, "log:searched")
    assert logs.by_episode["e2"][0].origin == "log:reformulated"
