"""Slices of a query set, and the worst queries of it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from include.evaluation.examples import EpisodeLabel
from include.evaluation.metrics import per_query
from include.evaluation.queries import QuerySet
from include.evaluation.slices import Slices, Wanted, slice_results
from include.evaluation.worst import WorstQueries, find_worst

LANGUAGES = ["English"] * 12 + ["German"] * 10 + ["Greek"] * 3
EPISODES = [f"e{number}" for number in range(25)]


def results() -> pa.Table:
    """English queries find their episodes at once, the others do not; some are short, some long."""
    queries = ["one two three"] * 11 + ["one two three four"] * 13 + ["1 two three four five six seven eight nine"]
    answers = [
        [key] if language == "English" else ["x", key] for key, language in zip(EPISODES, LANGUAGES, strict=True)
    ]
    asked = QuerySet("curated", queries, [[key] for key in EPISODES], ["curated"] * 25)
    return per_query(asked, answers, np.array([len(answer) for answer in answers]))


def sliced(words: int = 30) -> dict[str, Slices]:
    wanted = {key: Wanted(language, words) for key, language in zip(EPISODES, LANGUAGES, strict=True)}
    wanted["e24"] = Wanted("Greek", 0)
    return {one.heading: one for one in slice_results(results(), wanted)}


def test_a_slice_has_the_means_of_its_queries_alone() -> None:
    english, german = sliced()["Language"].slices
    assert (english.name, english.queries, english.metrics["mrr@30"]) == ("English", 12, 1)
    assert (german.name, german.queries, german.metrics["mrr@30"]) == ("German", 10, 0.5)


def test_a_slice_of_few_queries_is_left_out_and_counted() -> None:
    assert sliced()["Language"].few == {"Greek": 3}
    assert sliced()["Query"].few == {"8 words or more": 1}


def test_queries_are_divided_by_their_length_in_its_order() -> None:
    assert [(one.name, one.queries) for one in sliced()["Query"].slices] == [("1–3 words", 11), ("4–7 words", 13)]


@pytest.mark.parametrize(
    ("words", "name"), [(1, "1–24 words"), (24, "1–24 words"), (25, "25–49 words"), (100, "100 words or more")]
)
def test_episodes_are_divided_by_the_length_of_their_descriptions(words: int, name: str) -> None:
    found = sliced(words)["Description"]
    assert [one.name for one in found.slices] == [name]
    assert found.few == {"none": 1}


def test_what_does_not_divide_the_queries_is_not_shown() -> None:
    assert "Origin" not in sliced()


def worst(ranks: list[int], lexical: list[list[tuple[str, float]]] | None = None) -> WorstQueries:
    keys = [f"e{number:02d}" for number in range(len(ranks))]
    asked = QuerySet("curated", [f"q{key}" for key in keys], [[key, "also"] for key in keys], ["curated"] * len(keys))
    tops = [["first", key] for key in keys]
    labels = {key: EpisodeLabel(f"title {key}", "show") for key in (*keys, "also", "first")}
    together = per_query(asked, tops, np.array(ranks))
    near = per_query(asked, tops, np.array(ranks) + 5)
    return find_worst(together, near, lexical or [[] for _ in keys], labels)


def test_the_deepest_ranks_come_first_and_an_answer_at_once_is_none_of_them() -> None:
    found = worst([3, 1, 200, *[2] * 20])
    assert [one.query for one in found.queries[:3]] == ["qe02", "qe00", "qe03"]
    assert len(found.queries) == 10
    assert worst([1, 1]).queries == []


def test_a_bad_query_shows_what_was_wanted_what_came_first_and_where_each_side_has_it() -> None:
    (one,) = worst([7], lexical=[[("x", 3.0), ("also", 2.0), ("e00", 1.0)]]).queries
    assert (one.wanted.title, one.others, one.first) == ("title e00", 1, EpisodeLabel("title first", "show"))
    assert (one.rank, one.dense, one.lexical) == (7, 12, 2)
    assert worst([7]).queries[0].lexical is None
