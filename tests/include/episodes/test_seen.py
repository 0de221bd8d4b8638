"""Ids that were met before are found, however many there are."""

from __future__ import annotations

import random

import pytest

from include.episodes import seen
from include.episodes.seen import SeenIds


@pytest.mark.parametrize("recent", [1, 7, 2**16])
def test_it_finds_what_a_dictionary_finds(monkeypatch: pytest.MonkeyPatch, recent: int) -> None:
    """Also when ids are packed after every few."""
    monkeypatch.setattr(seen, "RECENT", recent)
    rng = random.Random(1)
    ids, known = SeenIds(), dict[str, int]()
    for start in range(0, 600, 20):
        batch = [f"id {rng.randrange(400)}" for _ in range(20)]
        expected = {}
        for position, key in enumerate(batch):
            if key in known:
                expected[position] = known[key]
            known.setdefault(key, start + position)
        assert ids.add(batch, range(start, start + 20)) == expected


def test_a_row_of_the_same_fingerprint_is_found_too() -> None:
    ids = SeenIds()
    assert ids.add(["a", "b", "a"], [5, 5, 5]) == {2: 5}
    assert ids.add(["b"], [5]) == {0: 5}


def test_packed_ids_lie_in_few_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look-up goes through all of them."""
    monkeypatch.setattr(seen, "RECENT", 10)
    ids = SeenIds()
    for number in range(1000):
        ids.add([f"{number}-{n}" for n in range(10)], range(10))
    assert sum(len(keys) for keys, _ in ids._packed) == 10_000
    assert len(ids._packed) <= 10
