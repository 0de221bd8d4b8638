from __future__ import annotations

import pytest

from include.queries.contract import Passage, Query
from include.queries.logs import LoggedQuery
from include.retriever.pairs import (
    MIN_EVAL_EPISODES,
    PAIRS,
    as_pairs,
    build_pairs,
    count_by,
    near_duplicate_group,
    split_of,
)


def passage(number: int, description: str | None = None) -> Passage:
    letters = "".join(chr(ord("a") + int(digit)) for digit in str(number))
    return Passage(f"e{number}", f"Title {number}", description or f"about {letters}", "Show")


def splits(passages: list[Passage], *, held_out: set[str] | None = None, eval_share: float = 0.01) -> dict[str, str]:
    """The split of each episode; every episode has two queries."""
    queries = [[Query(f"{own.episode_id} {n}", "title", own.text()) for n in "ab"] for own in passages]
    pairs = build_pairs(passages, queries, train_share=0.8, eval_share=eval_share, held_out=held_out or set())
    rows = pairs.to_pylist()
    by_episode: dict[str, set[str]] = {}
    for row in rows:
        by_episode.setdefault(row["episode_id"], set()).add(row["split"])
    assert len(rows) == 2 * len(passages)
    assert all(len(found) == 1 for found in by_episode.values()), "an episode stands on two sides"
    return {key: found.pop() for key, found in by_episode.items()}


@pytest.mark.parametrize(
    ("group", "split"),
    [("a", "train"), ("b", "train"), ("e", "eval"), ("g", "test")],
)
def test_a_split_stays_the_same_in_every_version(group: str, split: str) -> None:
    """Were it to move, a model would be tested on what an earlier one was trained on."""
    assert split_of(group, train_share=0.5, eval_share=0.1) == split


def test_the_shares_are_held() -> None:
    found = [split_of(f"g{n}", train_share=0.8, eval_share=0.05) for n in range(20_000)]
    assert found.count("train") / len(found) == pytest.approx(0.8, abs=0.01)
    assert found.count("eval") / len(found) == pytest.approx(0.05, abs=0.01)


def test_an_episode_keeps_its_split_when_others_come_and_go() -> None:
    many = splits([passage(n) for n in range(3000)])
    few = splits([passage(n) for n in range(0, 3000, 2)])
    assert {key: split == "train" for key, split in few.items()} == {key: many[key] == "train" for key in few}


def test_near_duplicates_stand_on_one_side() -> None:
    same = [passage(n, f"Episode {n}: the NEWS of the day!") for n in range(50)]
    assert len(set(splits(same).values())) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("The news of 3 May", "the NEWS of 4 may!", True),
        ("Ep. 1 – news", "ep 2 news", True),
        ("The news of Bonn", "The news of Oslo", False),
        ("眠れない夜", "眠れる夜", False),
    ],
)
def test_groups_are_of_descriptions_that_differ_in_case_digits_and_punctuation(
    one: str, other: str, same: bool
) -> None:
    assert (near_duplicate_group(passage(1, one)) == near_duplicate_group(passage(2, other))) is same


def test_curated_episodes_and_their_near_duplicates_are_only_tested_on() -> None:
    passages = [passage(n) for n in range(200)] + [passage(900, "About a, again"), passage(901, "about A: again 2")]
    free = splits(passages)
    curated = {f"e{n}" for n in range(50)} | {"e900"}
    held = splits(passages, held_out=curated)
    assert {held[key] for key in curated | {"e901"}} == {"test"}
    assert {key: held[key] for key in held if key not in curated | {"e901"}} == {
        key: free[key] for key in free if key not in curated | {"e901"}
    }


def test_a_small_catalogue_still_has_something_to_evaluate_on() -> None:
    """1 % of 500 episodes would be 5: their MRR is dice."""
    found = list(splits([passage(n) for n in range(500)]).values())
    assert found.count("eval") == pytest.approx(MIN_EVAL_EPISODES, abs=12)
    tiny = list(splits([passage(n) for n in range(40)]).values())
    assert tiny.count("train") >= 25, "the floor takes from the test split only"


def test_the_eval_share_of_a_large_catalogue_is_as_set() -> None:
    found = list(splits([passage(n) for n in range(20_000)]).values())
    assert found.count("eval") == pytest.approx(200, abs=45)


def test_no_passages_no_pairs() -> None:
    pairs = build_pairs([], [], train_share=0.8, eval_share=0.01)
    assert pairs.schema == PAIRS
    assert len(pairs) == 0
    assert count_by(pairs, "split") == {}


def test_logged_queries_join_the_pairs_on_the_side_of_their_episode() -> None:
    passages = [passage(n) for n in range(200)]
    queries = [[Query(f"query {n}", "title", "held out")] for n in range(200)]
    logs = {own.episode_id: [LoggedQuery("tea", "log:app", 2.5)] for own in passages} | {
        "gone": [LoggedQuery("tea", "log:app", 9.0)]
    }
    pairs = build_pairs(passages, queries, train_share=0.6, eval_share=0.1, held_out={"e3"}, logs=logs)
    rows = {(row["episode_id"], row["origin"]): row for row in pairs.to_pylist()}
    assert len(rows) == len(pairs) == 400
    for own in passages:
        generated, logged = rows[own.episode_id, "title"], rows[own.episode_id, "log:app"]
        assert (generated["weight"], logged["weight"]) == (1.0, 2.5)
        assert logged["split"] == generated["split"]
        assert logged["positive"] == own.text(), "search finds the whole text"
        assert logged["query"] == "tea"
    assert rows["e3", "log:app"]["split"] == "test", "an episode that answers a curated query is only tested on"


def test_an_episode_may_have_logged_queries_only() -> None:
    pairs = build_pairs(
        [passage(1)], [[]], train_share=0.8, eval_share=0.01, logs={"e1": [LoggedQuery("tea", "log", 1.0)]}
    )
    assert pairs["query"].to_pylist() == ["tea"]


def test_pairs_that_were_stored_before_there_were_weights_can_be_read() -> None:
    """The test split of the live model's training is still asked."""
    pairs = build_pairs([passage(1)], [[Query("tea", "title", "x")]], train_share=0.8, eval_share=0.01)
    assert as_pairs(pairs) == pairs
    old = as_pairs(pairs.drop_columns(["weight"]))
    assert old == pairs
    assert old.schema == PAIRS
