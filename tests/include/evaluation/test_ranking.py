from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from include.evaluation import ranking
from include.evaluation.ranking import Vectors, rank


def unit(matrix: list[list[float]] | npt.NDArray[np.floating]) -> Vectors:
    values = np.asarray(matrix, np.float64)
    normalised: Vectors = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return normalised


def by_hand(
    query: Vectors, catalogue: Vectors, ids: list[str], target: int | None = None, stand_in: Vectors | None = None
) -> list[tuple[float, str]]:
    """The whole ranking of one query, one product at a time in float64."""
    scored = []
    for row, episode_id in enumerate(ids):
        vector = stand_in if stand_in is not None and row == target else catalogue[row]
        score = sum(float(a) * float(b) for a, b in zip(query, vector, strict=True))
        scored.append((-round(score, ranking.DECIMALS), episode_id))
    return sorted(scored)


@pytest.fixture
def data() -> tuple[Vectors, Vectors, list[str]]:
    """Twelve queries and 90 episodes, thirty of which have the vector of another, under ids in no order."""
    rng = np.random.default_rng(5)
    catalogue = unit(rng.normal(size=(90, 16)))
    catalogue[60:] = catalogue[:30]
    return unit(rng.normal(size=(12, 16))), catalogue, [f"e{number:03d}" for number in rng.permutation(90)]


@pytest.mark.parametrize("block", [1, 90 * 5, 2**23])
def test_agrees_with_a_ranking_by_hand_whatever_the_blocks(
    data: tuple[Vectors, Vectors, list[str]], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "BLOCK_SCORES", block)
    queries, catalogue, ids = data
    relevant = [[ids[row], ids[-row - 1]] for row in range(len(queries))]
    found = rank(queries, catalogue, ids, k=25, relevant=relevant)
    assert found.ranks is not None
    for row, query in enumerate(queries):
        expected = by_hand(query, catalogue, ids)
        assert found.ids[row] == [episode_id for _, episode_id in expected[:25]]
        np.testing.assert_allclose(found.scores[row], [-score for score, _ in expected[:25]], atol=1e-9)
        order = [episode_id for _, episode_id in expected]
        assert found.ranks[row] == 1 + min(order.index(episode_id) for episode_id in relevant[row])


def test_the_held_out_vector_replaces_the_target_for_its_own_query_only(
    data: tuple[Vectors, Vectors, list[str]],
) -> None:
    queries, catalogue, ids = data
    targets = list(range(len(queries)))
    held_out = unit(np.random.default_rng(6).normal(size=queries.shape))
    before = catalogue.copy()
    found = rank(
        queries, catalogue, ids, k=90, relevant=[[ids[row]] for row in targets], held_out=held_out, targets=targets
    )
    assert found.ranks is not None
    for row, query in enumerate(queries):
        order = [episode_id for _, episode_id in by_hand(query, catalogue, ids, row, held_out[row])]
        assert found.ids[row] == order
        assert found.ranks[row] == 1 + order.index(ids[row])
    np.testing.assert_array_equal(catalogue, before)


def test_holding_the_query_out_takes_away_the_trivial_match() -> None:
    """An episode that is its own query is found first, unless what it is asked by is held out."""
    catalogue = unit([[1.0, 0, 0], [0.9, 0.5, 0], [0, 1, 0], [0, 0, 1]])
    query, relevant, ids = catalogue[:1], [["a"]], ["a", "b", "c", "d"]
    trivial = rank(query, catalogue, ids, relevant=relevant)
    fair = rank(query, catalogue, ids, relevant=relevant, held_out=unit([[0.3, 1, 0]]), targets=[0])
    assert trivial.ids[0][0] == "a"
    assert fair.ids[0][:2] == ["b", "a"]
    assert fair.ranks is not None
    assert fair.ranks.tolist() == [2]


def test_equal_vectors_are_ordered_by_id() -> None:
    """Two runs over the same episodes in another order must agree."""
    catalogue = np.repeat(unit(np.random.default_rng(1).normal(size=(1, 384))), 40, axis=0)
    ids = [f"{number:02d}" for number in np.random.default_rng(2).permutation(40)]
    found = rank(catalogue[:1], catalogue, ids, k=7, relevant=[["33"]])
    assert found.ids == [["00", "01", "02", "03", "04", "05", "06"]]
    assert found.ranks is not None
    assert found.ranks.tolist() == [34]


def test_a_catalogue_smaller_than_k_is_ranked_whole() -> None:
    found = rank(unit([[1, 0]]), unit([[0, 1], [1, 1]]), ["a", "b"], k=100)
    assert found.ids == [["b", "a"]]
    assert found.ranks is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": np.ones((2, 3), np.float32)}, "not L2-normalised"),
        ({"catalogue": np.full((3, 3), np.nan, np.float32)}, "not L2-normalised"),
        ({"queries": unit(np.ones((2, 4)))}, "two models met"),
        ({"ids": ["a", "b"]}, "2 ids for 3 vectors"),
        ({"ids": ["a", "b", "a"]}, "ids repeat"),
        ({"relevant": [["a"]]}, "1 of 2 queries"),
        ({"relevant": [["a"], ["z"]]}, "'z' is not in the catalogue"),
        ({"held_out": unit(np.ones((2, 3)))}, "go together"),
        ({"held_out": unit(np.ones((2, 3))), "targets": [0, 3]}, "outside the catalogue"),
        ({"held_out": unit(np.ones((2, 3))), "targets": [0]}, "do not fit"),
    ],
)
def test_input_that_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "queries": unit(np.ones((2, 3))),
        "catalogue": unit(np.eye(3)),
        "ids": ["a", "b", "c"],
    }
    with pytest.raises(ValueError, match=message):
        rank(**(arguments | change))  # type: ignore[arg-type]
