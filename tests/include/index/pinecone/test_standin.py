"""The stand-in refuses what Pinecone refuses: else tests would pass of what fails there."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pinecone import Index, Pinecone, TextQuery
from pinecone.errors import ApiError

from include.index.pinecone.documents import schema
from tests.include.index.contract import DIMENSION, axis
from tests.standins.pinecone import VERSION, PineconeStandIn, bare

VALUES = axis(0)[0].tolist()
DOCUMENT: dict[str, Any] = {"_id": "a", "vector": VALUES, "words": "The owl", "description": "d", "title": "t"}


def door(standin: PineconeStandIn, fields: dict[str, Any]) -> Index:
    host = standin.add_index("some", fields).host
    return Index(host=f"http://{host}", api_key=standin.key)


@pytest.fixture
def documents(standin: PineconeStandIn) -> Index:
    index = door(standin, schema(DIMENSION)["fields"])
    index.documents.upsert(namespace="ns", documents=[DOCUMENT])
    return index


def post(standin: PineconeStandIn, path: str, body: dict[str, Any]) -> httpx.Response:
    """What the client would not send."""
    headers = {"Api-Key": standin.key, "X-Pinecone-Api-Version": VERSION}
    return httpx.post(f"http://{standin.indexes['some'].host}{path}", json=body, headers=headers)


def test_each_kind_of_index_has_its_own_calls(standin: PineconeStandIn, documents: Index) -> None:
    for call in (
        lambda: documents.upsert(vectors=[("a", VALUES)], namespace="ns"),
        lambda: documents.query(vector=VALUES, top_k=1, namespace="ns"),
        lambda: documents.fetch(ids=["a"], namespace="ns"),
    ):
        with pytest.raises(ApiError, match="does not support this"):
            call()
    vectors = door(standin, bare(DIMENSION))
    with pytest.raises(ApiError, match="does not support this"):
        vectors.documents.upsert(namespace="ns", documents=[DOCUMENT])


@pytest.mark.parametrize(
    "score_by",
    [
        [
            {"type": "dense_vector", "field": "vector", "values": VALUES},
            {"type": "text", "fields": ["words"], "query": "x"},
        ],
        [{"type": "text", "fields": ["title"], "query": "x"}],
        [{"type": "text", "fields": ["vector"], "query": "x"}],
        [{"type": "text", "fields": ["words"], "query": "x", "boost": 2}],
        [{"type": "dense_vector", "field": "words", "values": VALUES}],
        [{"type": "dense_vector", "field": "vector", "values": VALUES[:-1]}],
        [],
    ],
)
def test_clauses_that_pinecone_refuses(standin: PineconeStandIn, documents: Index, score_by: list[Any]) -> None:
    answer = post(standin, "/namespaces/ns/documents/search", {"score_by": score_by, "top_k": 1})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "wanted", [{"words": {"$eq": "x"}}, {"$and": [{"description": {"$eq": "d"}}]}, {"title": {"$match_any": "t"}}]
)
def test_filters_that_pinecone_refuses(documents: Index, wanted: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="takes no"):
        documents.documents.search(
            namespace="ns", score_by=[TextQuery(query="owl", fields=["words"])], top_k=1, filter=wanted
        )


def test_filters_are_combined(documents: Index) -> None:
    def found(wanted: dict[str, Any]) -> int:
        clause = TextQuery(query="owl", fields=["words"])
        return len(documents.documents.search(namespace="ns", score_by=[clause], top_k=1, filter=wanted).matches)

    documents.documents.upsert(namespace="ns", documents=[{**DOCUMENT, "seconds": 60}])
    assert found({"$and": [{"title": {"$eq": "t"}}, {"seconds": {"$gte": 60, "$lt": 61}}]}) == 1
    assert found({"$and": [{"title": {"$eq": "t"}}, {"seconds": {"$lt": 60}}]}) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"vector": VALUES[:-1]},
        {"vector": [0.0] * DIMENSION},
        {"words": "x " * 10_001},
        {"words": "x" * 100_001},
        {"words": 1},
        {"title": "x" * 41_000},
        {"title": None},
        {"_title": "x"},
    ],
)
def test_documents_that_pinecone_refuses(documents: Index, changes: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refused:
        documents.documents.upsert(namespace="ns", documents=[{**DOCUMENT, **changes}])
    assert refused.value.status_code == 400


@pytest.mark.parametrize(
    "field",
    [
        {"type": "string"},
        {"type": "string", "full_text_search": {}, "filterable": False},
        {"type": "string", "full_text_search": {"stop_words": True}},
        {"type": "float", "filterable": True},
    ],
)
def test_schemas_that_pinecone_refuses(standin: PineconeStandIn, field: dict[str, Any]) -> None:
    fields = schema(DIMENSION)["fields"] | {"more": field}
    with pytest.raises(ApiError) as refused:
        Pinecone(standin.key, host=standin.host).indexes.create(name="x", schema={"fields": fields}, timeout=-1)
    assert refused.value.status_code == 400
