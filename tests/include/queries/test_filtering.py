from __future__ import annotations

import pytest

from include.queries.contract import Query
from include.queries.filtering import Dropped, filter_queries

POSITIVE = "A nurse cannot sleep after her shift, and nothing she reads about melatonin and darkness helps her."


def query(text: str, positive: str = POSITIVE) -> Query:
    return Query(text, "title", positive)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("why nurses sleep badly", None),
        ("sleep", Dropped.TOO_SHORT),
        ("", Dropped.TOO_SHORT),
        ("🎉🎉🎉", Dropped.NOT_WORDS),
        ("眠れない夜", None),  # five characters say as much as several words
        ("नींद की समस्या", None),  # vowel signs are letters too
        ("นอนไม่หลับตอนกลางคืน", None),
        ("word " * 31, Dropped.TOO_LONG),
        ("00:12:45 - 00:59:10 intros", Dropped.NOT_WORDS),
        (POSITIVE, Dropped.COPIED),
    ],
)
def test_reasons(text: str, reason: Dropped | None) -> None:
    kept, dropped = filter_queries([[query(text)]])
    assert dropped == ({reason: 1} if reason else {})
    assert bool(kept[0]) is (reason is None)


def test_an_episode_keeps_one_of_equal_queries() -> None:
    kept, dropped = filter_queries([[query("Why nurses sleep"), query("why  NURSES sleep")]])
    assert [own.text for own in kept[0]] == ["Why nurses sleep"]
    assert dropped == {Dropped.REPEATED: 1}


def test_a_query_that_many_episodes_share_is_dropped_everywhere() -> None:
    """It cannot say which one is meant: every other episode would be a false negative."""
    same, own = query("Christmas special show"), query("Why nurses sleep")
    kept, dropped = filter_queries([[same, own], [same], [same]], max_sharing=2)
    assert kept == [[own], [], []]
    assert dropped == {Dropped.GENERIC: 3}
    assert filter_queries([[same], [same]], max_sharing=2)[1] == {}


def test_a_repetition_within_one_episode_is_not_sharing() -> None:
    same = query("Christmas special show")
    assert filter_queries([[same, same, same]], max_sharing=2)[0] == [[same]]


def test_every_episode_keeps_its_place() -> None:
    kept, _ = filter_queries([[], [query("x")], [query("why nurses sleep")]])
    assert [len(own) for own in kept] == [0, 0, 1]
