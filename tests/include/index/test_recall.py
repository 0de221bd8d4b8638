from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from include.index.contract import Vectors
from include.index.lancedb import LanceIndex
from include.index.plan import Plan
from include.index.recall import index_recall, require_recall
from include.index.write import VerificationError
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.workshop import DIMENSION, NAMESPACE, embedding, reindex

ROWS = [episode(number) for number in range(60)]


@pytest.fixture
def index(tmp_path: Path) -> LanceIndex:
    return LanceIndex(str(tmp_path / "index"))


@pytest.fixture
def plan(store: ArtifactStore, index: LanceIndex) -> Plan:
    publish(store, ROWS)
    return reindex(store, index)


@pytest.fixture
def queries() -> Vectors:
    return np.stack([embedding(f"query {number}") for number in range(20)])


def test_exact_search_gives_all(store: ArtifactStore, index: LanceIndex, plan: Plan, queries: Vectors) -> None:
    assert index_recall(store, index, plan, queries) == 1.0
    assert index_recall(store, index, plan, queries, k=1) == 1.0


def test_answers_that_are_lost_are_counted(
    store: ArtifactStore, index: LanceIndex, plan: Plan, queries: Vectors
) -> None:
    """Held against the answers as the index gives them before and after."""
    before = index.search_vectors(NAMESPACE, queries, 10)
    gone = {row["episode_id"] for row in ROWS[:15]}
    index.delete(NAMESPACE, sorted(gone))
    lost = np.mean([sum(hit.episode_id in gone for hit in hits) / 10 for hits in before])
    assert 0.1 < lost < 0.5
    assert index_recall(store, index, plan, queries, k=10) == pytest.approx(1 - lost)


def test_a_catalogue_smaller_than_k_can_be_found_in_full(store: ArtifactStore, index: LanceIndex) -> None:
    publish(store, ROWS[:7])
    plan = reindex(store, index)
    assert index_recall(store, index, plan, embedding("query")[None]) == 1.0


def test_equal_texts_are_equally_right(store: ArtifactStore, index: LanceIndex) -> None:
    """Which ten of fifty twins are given is nobody's fault."""
    publish(store, [ROWS[0] | {"episode_id": f"twin{n}", "podcast_id": f"p{n % 5}"} for n in range(50)])
    plan = reindex(store, index)
    assert index_recall(store, index, plan, embedding("query")[None], k=10) == 1.0


def test_it_works_across_a_change_of_shards(
    store: ArtifactStore, index: LanceIndex, plan: Plan, queries: Vectors
) -> None:
    publish(store, ROWS, shards=5)
    assert index_recall(store, index, reindex(store, index), queries) == 1.0


def test_too_little_is_refused(store: ArtifactStore, index: LanceIndex, plan: Plan, queries: Vectors) -> None:
    assert require_recall(store, index, plan, queries, least=1.0) == 1.0
    index.delete(NAMESPACE, [row["episode_id"] for row in ROWS[:30]])
    with pytest.raises(VerificationError, match=r"answers, less than 0\.900"):
        require_recall(store, index, plan, queries, least=0.9)
    assert queries.shape == (20, DIMENSION)
