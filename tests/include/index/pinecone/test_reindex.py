"""Re-indexing on Pinecone: the steps that the embedded backend goes through, with what they ask of Pinecone."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.index import live
from include.index.lancedb import LanceIndex
from include.index.pinecone.index import PineconeIndex
from include.index.plan import namespace_of, plan_reindex
from include.index.retire import retire
from include.index.write import LostNamespaceError, VerificationError, prepare_namespace, verify
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.workshop import (
    DIMENSION,
    MODEL,
    NAMESPACE,
    assert_settled,
    content,
    expected,
    register,
    reindex,
    write,
)
from tests.standins.pinecone import Fault, PineconeStandIn

FIRST = [episode(number) for number in range(40)]
SECOND = [*FIRST[2:38], episode(38, title="Edited"), episode(39, language="Thai"), episode(40)]
"""Against FIRST: 2 removed, 1 text and 1 record edited, 1 added."""


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def test_only_the_difference_is_written(store: ArtifactStore, index: PineconeIndex, standin: PineconeStandIn) -> None:
    publish(store, FIRST, shards=2)
    first = reindex(store, index)
    assert (first.action, sum(standin.batches)) == ("full", 40)
    assert_settled(store, index, FIRST, first.snapshot_id)
    standin.batches.clear()
    publish(store, SECOND, shards=2)
    second = reindex(store, index)
    assert (second.action, sum(standin.batches), standin.count("delete")) == ("difference", 3, 1)
    assert_settled(store, index, SECOND, second.snapshot_id)
    assert live.require_live(store).backend == "pinecone"


def test_a_new_model_is_filled_beside_the_live_one(
    store: ArtifactStore, index: PineconeIndex, standin: PineconeStandIn
) -> None:
    publish(store, FIRST, shards=2)
    for version in ("old", MODEL, "new"):
        register(store, version)
        reindex(store, index, version)
    old, current, new = (namespace_of(version) for version in ("old", MODEL, "new"))
    assert content(index, current) == expected(FIRST, MODEL)
    assert content(index, new) == expected(FIRST, "new")
    assert retire(store, index, keep=2) == [old]
    assert index.namespaces() == [current, new]
    assert list(standin.indexes) == [f"podsearch-{DIMENSION}-words"]


def test_what_is_not_there_is_found(store: ArtifactStore, index: PineconeIndex) -> None:
    publish(store, FIRST, shards=2)
    plan = plan_reindex(store, model_version=MODEL, live=None)
    write(store, index, plan)
    index.delete(NAMESPACE, [FIRST[7]["episode_id"]])
    with pytest.raises(VerificationError, match="has 39 records instead of 40: 1 missing"):
        verify(store, index, plan)


def test_records_that_pinecone_loses_are_found(
    store: ArtifactStore, index: PineconeIndex, standin: PineconeStandIn
) -> None:
    """The client does not look at how many were written; verification does, and the next run builds in full."""
    publish(store, FIRST, shards=2)
    standin.faults.append(Fault("upsert", part=5))
    with pytest.raises(VerificationError, match="missing"):
        reindex(store, index)
    plan = reindex(store, index)
    assert plan.action == "full"
    assert_settled(store, index, FIRST, plan.snapshot_id)


def test_moving_from_the_embedded_index_builds_in_full(
    store: ArtifactStore, index: PineconeIndex, tmp_path: Path
) -> None:
    publish(store, FIRST, shards=2)
    reindex(store, LanceIndex(str(tmp_path / "index")))
    plan = plan_reindex(store, model_version=MODEL, live=live.read_live(store))
    with pytest.raises(LostNamespaceError, match="plan again"):
        prepare_namespace(store, index, plan, DIMENSION)
    plan = reindex(store, index)
    assert plan.action == "full"
    assert content(index) == expected(FIRST)
