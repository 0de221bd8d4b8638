"""What an earlier release left in Pinecone: indexes of bare vectors, which are read until they are retired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pinecone import Index, Pinecone

from include.index import live
from include.index.contract import IndexMismatchError, Length, NamespaceNotFoundError, Period
from include.index.pinecone.index import PineconeIndex
from include.index.rollback import plan_rollback
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.contract import DIMENSION, axis, ids_of, metadata, random_vectors, records
from tests.include.index.workshop import DIMENSION as WORKSHOP_DIMENSION
from tests.include.index.workshop import MODEL, NAMESPACE, content, embedding, expected, register, reindex, write_live
from tests.standins.pinecone import PineconeStandIn, bare

OLD, NEW = f"podsearch-{DIMENSION}", f"podsearch-{DIMENSION}-words"


def make_old(standin: PineconeStandIn, dimension: int) -> Index:
    """An index of bare vectors with the namespace m1, made as the release before words did it."""
    client = Pinecone(standin.key, host=standin.host)
    model = client.indexes.create(name=f"podsearch-{dimension}", dimension=dimension, metric="cosine", timeout=-1)
    index = Index(host=f"http://{str(model.host).removeprefix('https://')}", api_key=standin.key)
    index.create_namespace(name="m1")
    return index


@pytest.fixture
def old(standin: PineconeStandIn) -> Index:
    """The index with three records."""
    index = make_old(standin, DIMENSION)
    kept = metadata()
    packed = {
        "title": kept.title,
        "show_title": kept.show_title,
        "language": kept.language,
        "content_hash": kept.content_hash,
        "model_version": kept.model_version,
        "published_at": int(kept.published_at.timestamp()) if kept.published_at else 0,
    }
    vectors = [(key, value.tolist(), packed) for key, value in zip("abc", axis(0, 1, 2), strict=True)]
    index.upsert(vectors=vectors, namespace="m1", show_progress=False)
    standin.requests.clear()
    return index


def test_it_is_read_as_before(index: PineconeIndex, old: Index) -> None:
    assert index.namespaces() == ["m1"]
    assert (index.count("m1"), sorted(index.list_ids("m1"))) == (3, ["a", "b", "c"])
    found = index.fetch("m1", ["a", "nobody"])
    assert list(found) == ["a"]
    assert np.allclose(found["a"].values, axis(0)[0])
    (hits,) = index.search_vectors("m1", axis(1), 2)
    assert ids_of(hits) == ["b", "a"]
    assert found["a"].metadata == hits[0].metadata == metadata()
    index.finish("m1")


def test_its_metadata_can_be_filtered_by(index: PineconeIndex, old: Index) -> None:
    def found(**wanted: str | Period | Length) -> list[str]:
        return ids_of(index.search_vectors("m1", axis(0), 3, wanted)[0])

    day = datetime(2017, 12, 1, tzinfo=UTC)
    assert found(language="English", published_at=Period(day, day + timedelta(days=1))) == ["a", "b", "c"]
    assert found(language="Thai") == []
    assert found(podcast_id="p") == found(duration_seconds=Length(longest=60)) == [], "it knows neither"


def test_it_has_no_words(index: PineconeIndex, old: Index, standin: PineconeStandIn) -> None:
    assert index.search_words("m1", ["title", "show"], 3) == [[], []]
    with pytest.raises(ValueError, match="at least one"):
        index.search_words("m1", ["title"], 0)
    assert standin.count("search") == standin.count("query") == 0


def test_nothing_is_written_to_it(index: PineconeIndex, old: Index, standin: PineconeStandIn) -> None:
    index.create("m1", DIMENSION)
    with pytest.raises(IndexMismatchError, match=rf"m1 is in the index {OLD}, .* not written to. Run reindex_episodes"):
        index.upsert("m1", [records("d", axis(3))])
    with pytest.raises(IndexMismatchError, match="not written to"):
        index.delete("m1", ["a"])
    assert list(standin.indexes) == [OLD]
    assert index.count("m1") == 3


def test_what_is_new_lies_beside_it(index: PineconeIndex, old: Index, standin: PineconeStandIn) -> None:
    before = standin.held()[OLD]["m1"].fetch(["a", "b", "c"])
    index.create("m1-2", DIMENSION)
    index.upsert("m1-2", [records("ab", axis(0, 1), title="Bats at night")])
    assert (list(standin.indexes), list(standin.indexes[NEW].namespaces)) == ([OLD, NEW], ["m1-2"])
    assert index.namespaces() == ["m1", "m1-2"]
    assert ids_of(index.search_words("m1-2", ["night"], 3)[0]) == ["a", "b"]
    assert ids_of(index.search_vectors("m1", axis(2), 1)[0]) == ["c"]
    assert standin.held()[OLD]["m1"].fetch(["a", "b", "c"]) == before


def test_it_can_be_retired(index: PineconeIndex, old: Index, standin: PineconeStandIn) -> None:
    """The index itself is left: whoever made it may have more in it."""
    index.drop("m1")
    index.drop("m1")
    assert (index.namespaces(), list(standin.indexes)) == ([], [OLD])
    with pytest.raises(NamespaceNotFoundError):
        index.count("m1")


def test_the_next_run_fills_a_namespace_beside_it_and_one_can_go_back(
    store: ArtifactStore, index: PineconeIndex, standin: PineconeStandIn
) -> None:
    """An installation of the release before: search answers from there until the run has gone live."""
    rows = [episode(number) for number in range(9)]
    snapshot_id = publish(store, rows).snapshot_id
    register(store, MODEL)
    client = make_old(standin, WORKSHOP_DIMENSION)
    values = [(row["episode_id"], embedding(row["content_hash"]).tolist(), {"title": row["title"]}) for row in rows]
    client.upsert(vectors=values, namespace=MODEL, show_progress=False)
    before = live.LivePointer(
        backend="pinecone",
        index="podsearch",
        namespace=MODEL,
        model_version=MODEL,
        snapshot_id=snapshot_id,
        activated_at=datetime.now(UTC),
    )
    write_live(store, before)
    assert len(index.search_vectors(MODEL, embedding("x")[None], 5)[0]) == 5
    assert reindex(store, index).action == "full"
    assert content(index) == expected(rows)
    assert index.namespaces() == sorted([MODEL, NAMESPACE])
    rollback = plan_rollback(store, lambda _: index)
    assert (rollback.target.namespace, rollback.rows) == (MODEL, 9)
    index.drop(MODEL)
    assert content(index) == expected(rows)


def test_many_ids_are_read_in_parts_that_fit_into_an_address(
    index: PineconeIndex, old: Index, standin: PineconeStandIn
) -> None:
    names = [f"{number:03d}" + "%" * 300 for number in range(40)]
    values = random_vectors(40)
    old.upsert(vectors=[(key, value.tolist()) for key, value in zip(names, values, strict=True)], namespace="m1")
    found = index.fetch("m1", names)
    assert np.allclose(np.stack([found[name].values for name in names]), values, atol=1e-6)
    assert standin.count("fetch") > 5


def test_many_ids_are_listed(index: PineconeIndex, old: Index) -> None:
    names = [f"e{number:03d}" for number in range(250)]
    vectors = [(key, value.tolist()) for key, value in zip(names, random_vectors(250), strict=True)]
    old.upsert(vectors=vectors, namespace="m1", show_progress=False)
    assert sorted(index.list_ids("m1")) == ["a", "b", "c", *names]


def test_an_index_that_holds_something_else_is_refused(index: PineconeIndex, standin: PineconeStandIn) -> None:
    standin.add_index(OLD, bare(DIMENSION, "dotproduct"))
    with pytest.raises(IndexMismatchError, match="the metric cosine, but has 8 and dotproduct"):
        index.namespaces()
