from __future__ import annotations

from collections import Counter

from include.queries.contract import Passage, Query
from include.queries.samples import MAX_CHARS, draw_samples

PASSAGES = [Passage(f"e{n}", f"Title {n}", f"Description {n}", "Show") for n in range(60)]
QUERIES = [
    [Query(f"{origin} {own.episode_id}", origin, own.text()) for origin in ("title", "lead", "key_phrase")]
    for own in PASSAGES
]


def test_every_origin_has_its_share_and_no_episode_two() -> None:
    samples = draw_samples(PASSAGES, QUERIES, size=9)
    assert Counter(sample.origin for sample in samples) == {"title": 3, "lead": 3, "key_phrase": 3}
    assert len({sample.title for sample in samples}) == 9
    assert all(sample.query.endswith(f"e{sample.title.removeprefix('Title ')}") for sample in samples)


def test_a_rare_origin_is_shown_too() -> None:
    rare = [[Query("log of e0", "rare", "x")], *QUERIES[1:]]
    assert "rare" in {sample.origin for sample in draw_samples(PASSAGES, rare)}


def test_the_seed_decides_whatever_the_order() -> None:
    first = draw_samples(PASSAGES, QUERIES, seed=3)
    assert draw_samples(PASSAGES[::-1], QUERIES[::-1], seed=3) == first
    assert draw_samples(PASSAGES, QUERIES, seed=4) != first


def test_there_may_be_fewer_than_asked_for() -> None:
    assert len(draw_samples(PASSAGES[:2], QUERIES[:2])) == 2
    assert draw_samples(PASSAGES[:2], [[], []]) == []


def test_long_texts_are_cut() -> None:
    (sample,) = draw_samples([Passage("e", "t" * 999, "d", "s")], [[Query("q" * 999, "lead", "d")]])
    assert (len(sample.title), len(sample.query)) == (MAX_CHARS + 1, MAX_CHARS + 1)
