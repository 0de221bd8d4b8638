from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest

from include.queries.contract import Passage, Query
from include.retriever.finetuning.examples import APART
from include.retriever.finetuning.sampler import MOST_OFTEN, PairBatchSampler, cut, deal
from include.retriever.pairs import build_pairs

ROWS = 1000


def rows_of_a_catalogue(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Keys and lengths of some pairs: three queries an episode, some asked of many, and a show that repeats itself."""
    chance = np.random.default_rng(seed)
    queries = np.where(chance.random(ROWS) < 0.1, chance.integers(0, 5, ROWS), np.arange(ROWS) + 5)
    groups = np.arange(ROWS) // 3
    groups[:60] = 0
    return np.stack([queries, groups], axis=1), chance.integers(10, 128, ROWS)


@pytest.mark.parametrize("sorted_batches", [1, 5, 50])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_in_a_batch_nothing_comes_twice_and_in_an_epoch_hardly_anything_is_left_out(
    sorted_batches: int, parts: int
) -> None:
    keys, lengths = rows_of_a_catalogue()
    sampler = PairBatchSampler(keys, lengths, batch_size=32, sorted_batches=sorted_batches, parts=parts, seed=3)
    dealt = list(sampler)
    assert len(dealt) == len(sampler) == 32 * parts
    batches = [list(chain(*dealt[start : start + parts])) for start in range(0, len(dealt), parts)]
    for start, batch in enumerate(batches):
        assert len({len(part) for part in dealt[start * parts : (start + 1) * parts]}) == 1, "each device has as many"
        if len(set(batch)) >= parts:  # or else it is repeated, for want of anything else
            assert all(len(set(kind)) == len(batch) for kind in keys[batch].T)
    seen = {row for batch in batches for row in batch}
    # Sixty near duplicates can stand in no more than 32 batches.
    assert len(set(range(60, ROWS)) - seen) <= 0.02 * ROWS
    assert sum(len(batch) == 32 for batch in batches) >= 29


def test_an_epoch_is_the_same_each_time_and_unlike_any_other() -> None:
    def epoch(number: int, seed: int = 3) -> list[list[int]]:
        sampler = PairBatchSampler(*rows_of_a_catalogue(), batch_size=32, sorted_batches=8, seed=seed)
        sampler.set_epoch(number)
        return list(sampler)

    assert epoch(1) == epoch(1)
    assert len({str(epoch(0)), str(epoch(1)), str(epoch(0, seed=4))}) == 3


def test_over_the_epochs_no_row_is_left_out_for_good() -> None:
    sampler = PairBatchSampler(*rows_of_a_catalogue(), batch_size=32, seed=3)
    seen: set[int] = set()
    for epoch in range(12):
        sampler.set_epoch(epoch)
        seen.update(row for batch in sampler for row in batch)
    assert seen == set(range(ROWS))


def test_sorted_batches_are_of_like_length_and_still_mixed() -> None:
    lengths = np.random.default_rng(1).integers(10, 128, ROWS)
    keys = np.stack([np.arange(ROWS), np.arange(ROWS) // 3], axis=1)

    def sampler(sorted_batches: int) -> PairBatchSampler:
        return PairBatchSampler(keys, lengths, batch_size=32, sorted_batches=sorted_batches, seed=3)

    def spread(sorted_batches: int) -> float:
        return float(np.median([np.ptp(lengths[batch]) for batch in sampler(sorted_batches)]))

    assert spread(8) < spread(1) / 4
    means = [lengths[batch].mean() for batch in sampler(8)]
    assert means[0] > np.quantile(means, 0.9), "what does not fit into memory shows at once"
    assert means[1:] != sorted(means[1:])
    first, second = (partners(sampler(8), epoch) for epoch in (0, 1))
    assert len(first & second) < len(first) / 3, "a pair meets others in each epoch"


def partners(sampler: PairBatchSampler, epoch: int) -> set[frozenset[int]]:
    sampler.set_epoch(epoch)
    return {frozenset((one, other)) for batch in sampler for one in batch for other in batch if one < other}


def test_the_longest_of_a_batch_come_first() -> None:
    keys, lengths = rows_of_a_catalogue()
    for batch in PairBatchSampler(keys, lengths, batch_size=32, seed=3):
        assert lengths[batch].tolist() == sorted(lengths[batch], reverse=True)


def test_rows_are_dealt_by_weight() -> None:
    """As many in an epoch as there are rows, so that weights shift what is seen and not how long it takes."""
    keys = np.stack([np.arange(400), np.arange(400)], axis=1)
    weights = np.ones(400)
    weights[:100], weights[399] = 4.0, 1_000_000.0
    sampler = PairBatchSampler(keys, np.ones(400, np.int64), batch_size=16, weights=weights, seed=3)
    seen: Counter[int] = Counter()
    for epoch in range(20):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert all(len(set(batch)) == len(batch) for batch in batches)
        seen.update(row for batch in batches for row in batch)
    rare, often = np.mean([seen[row] for row in range(100, 399)]), np.mean([seen[row] for row in range(100)])
    assert often / rare == pytest.approx(4, rel=0.1)
    assert seen[399] / rare == pytest.approx(MOST_OFTEN, rel=0.2)
    assert seen.total() == pytest.approx(20 * 400, rel=0.03)


def test_one_group_alone_makes_batches_of_one() -> None:
    """There is nothing to tell apart; but the training ends as it should."""
    keys = np.zeros((10, 2), np.int64)
    assert [len(batch) for batch in PairBatchSampler(keys, np.ones(10, np.int64), batch_size=4)] == [1, 1, 1]
    shared = list(PairBatchSampler(keys, np.ones(10, np.int64), batch_size=4, parts=2))
    assert [len(part) for part in shared] == [1] * 6


def test_parts_of_a_batch_are_alike() -> None:
    assert cut([9, 8, 7, 6, 5, 4, 3], 3) == [[9, 6], [8, 5], [7, 4]]
    assert cut([9], 2) == [[9], [9]]


def test_dealing_is_quick_whatever_repeats() -> None:
    """Each of 30,000 rows of one group needs a batch of its own: not one of them may be looked for among all before."""
    keys = np.stack([np.arange(60_000), np.where(np.arange(60_000) < 30_000, 0, np.arange(60_000))], axis=1)
    batches = deal(np.arange(60_000), keys, 64)
    assert len(batches) == 30_000
    assert sum(map(len, batches)) == 60_000


def test_an_episodes_queries_share_what_keeps_them_apart() -> None:
    passages = [Passage(f"e{n}", f"Title {n}", "Of bees and men." if n < 2 else f"On {n}.", "Show") for n in range(3)]
    queries = [[Query(f"{word} {n}", "title", f"text {word} {n}") for word in ("one", "two")] for n in range(3)]
    pairs = build_pairs(passages, queries, train_share=0.8, eval_share=0.1)
    assert "group" in APART
    groups = dict(zip(pairs["episode_id"].to_pylist(), pairs["group"].to_pylist(), strict=True))
    assert len({(row["episode_id"], row["group"]) for row in pairs.to_pylist()}) == 3
    assert groups["e0"] == groups["e1"] != groups["e2"]
