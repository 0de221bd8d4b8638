from __future__ import annotations

import pytest

from include.index.fusion import DEPTH, Fused, Place, confidence, fuse


def ranked(fused: list[Fused]) -> list[str]:
    return [one.episode_id for one in fused]


def test_each_side_is_brought_to_one_range_and_weighed() -> None:
    """Cosines lie close together, BM25 scores far apart: neither may drown the other."""
    fused = fuse([("a", 0.62), ("b", 0.61), ("c", 0.60)], [("b", 30.0), ("d", 20.0), ("c", 10.0)], weight=0.6)
    assert {one.episode_id: one.score for one in fused} == pytest.approx(
        {"a": 0.6, "b": 0.6 * 0.5 + 0.4, "c": 0.0, "d": 0.4 * 0.5}
    )
    assert ranked(fused) == ["b", "a", "d", "c"]


def test_where_each_side_has_an_episode_is_told() -> None:
    (a, b) = fuse([("a", 0.9)], [("a", 7.0), ("b", 3.0)], weight=0.5)
    assert (a.dense, a.lexical) == (Place(1, 0.9), Place(1, 7.0))
    assert (b.dense, b.lexical) == (None, Place(2, 3.0))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_one_side_alone_keeps_its_order(weight: float) -> None:
    """The other found nothing, as words often do."""
    side = [("c", 0.9), ("a", 0.8), ("b", 0.7)]
    if weight > 0:
        assert ranked(fuse(side, [], weight=weight)) == ["c", "a", "b"]
    if weight < 1:
        assert ranked(fuse([], side, weight=weight)) == ["c", "a", "b"]
    assert fuse([], [], weight=weight) == []


def test_equal_scores_come_by_id_and_count_as_best() -> None:
    assert ranked(fuse([("b", 0.5), ("a", 0.5)], [], weight=0.6)) == ["a", "b"]
    assert fuse([("a", 0.5)], [], weight=0.6)[0].score == 0.6


def test_deeper_answers_change_nothing() -> None:
    """Else a second page would be of another ranking than the first."""
    dense = [(f"d{rank:03d}", 1 - rank / 1_000) for rank in range(300)]
    lexical = [(f"l{rank:03d}", 300.0 - rank) for rank in range(300)]
    assert fuse(dense, lexical, weight=0.6) == fuse(dense[:DEPTH], lexical[:DEPTH], weight=0.6)


def test_words_have_the_more_say_the_better_they_fit() -> None:
    """“The” is in every episode, a rare name in one: only the name says what is meant."""
    rare = confidence("Wittgenstein", [("a", 9.0)], episodes=10_000)
    common = confidence("what about the", [("a", 1.2)], episodes=10_000)
    assert rare == 1
    assert common < 0.01
    assert common < confidence("what about Wittgenstein", [("a", 9.0)], episodes=10_000) < rare
    assert confidence("Wittgenstein", [], episodes=10_000) == 0


def test_a_catalogue_of_any_size_and_a_query_of_any_script_can_be_trusted() -> None:
    assert 0 < confidence("x", [("a", 0.1)], episodes=1) <= 1
    assert confidence("?!", [("a", 0.1)], episodes=5) > 0
    assert confidence("日本の歴史", [("a", 9.0)], episodes=10_000) > confidence(
        "日本の歴史について", [("a", 9.0)], episodes=10_000
    )


def test_what_is_not_trusted_does_not_lead() -> None:
    dense, lexical = [("a", 0.9), ("b", 0.1)], [("b", 3.0), ("c", 2.0)]
    assert ranked(fuse(dense, lexical, weight=0.4, trust=1.0))[0] == "b"
    assert ranked(fuse(dense, lexical, weight=0.4, trust=0.1)) == ["a", "b", "c"]
