from __future__ import annotations

from operators.pools import POOLS, Pool


def test_every_pool_is_made_at_start_up_with_at_least_one_slot() -> None:
    assert set(POOLS) == set(Pool)
    for slots, description in POOLS.values():
        assert slots >= 1
        assert description


def test_the_embedded_index_has_one_writer() -> None:
    assert POOLS[Pool.INDEX][0] == 1
