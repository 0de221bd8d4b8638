"""What the stand-in for Pinecone does on an index of documents, by the client's own models of the requests."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import orjson
from pinecone.errors import PineconeTypeError
from pinecone.models.documents.requests import (
    DeleteDocumentsRequest,
    FetchDocumentsRequest,
    ListDocumentsRequest,
    SearchDocumentsRequest,
    UpsertDocumentsRequest,
)
from pinecone.models.documents.score_by import DenseVectorQuery, TextQuery

from tests.standins.pinecone_planes import MAX_METADATA, Data
from tests.standins.pinecone_schema import Refusal
from tests.standins.vectors import Record, VectorNamespace

MAX_TEXT_BYTES, MAX_TEXT_WORDS, MAX_ANSWER = 100_000, 10_000, 4 * 2**20
Model = TypeVar("Model")
COMPARING = {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists"}


class Documents(Data):
    """The data plane of an index of documents: a document is kept as a record, whose metadata is all but its vector."""

    def upsert(self, asked: dict[str, Any], _: Any, part: int | None) -> Any:
        documents: list[Any] = valid(UpsertDocumentsRequest, documents=asked["documents"]).documents
        if len({document["_id"] for document in documents}) < len(documents):
            raise Refusal(400, "A document is there twice")
        records = [self._record(document) for document in documents]
        self._put(asked["namespace"], records, part)
        return {"upserted_count": len(records)}

    def search(self, asked: dict[str, Any], *_: Any) -> Any:
        namespace = asked.pop("namespace")
        request = valid(SearchDocumentsRequest, **asked)
        wanted = request.filter or {}
        self._check_filter(wanted)
        found = self._named(namespace)
        clauses = request.score_by
        if isinstance(clauses[0], DenseVectorQuery):
            self._check_field(clauses[0].field, "dense_vector")
            if len(clauses[0].values) != self.index.dimension:
                raise Refusal(400, f"The dimension of the index is {self.index.dimension}")
            best = found.nearest(clauses[0].values, request.top_k, wanted, values=True) if found else []
        else:
            best = self._fitting(found, clauses, request.top_k, wanted) if found else []
        matches = [{**self._shown(record, request.include_fields or []), "_score": score} for score, record in best]
        answer = {"matches": matches, "namespace": namespace, "usage": {"read_units": 1}}
        if len(orjson.dumps(answer)) > MAX_ANSWER:
            raise Refusal(400, "The result is larger than 4 MB")
        return answer

    def fetch(self, asked: dict[str, Any], *_: Any) -> Any:
        namespace = asked.pop("namespace")
        request = valid(FetchDocumentsRequest, **asked)
        assert request.ids, "the stand-in fetches by ids alone"
        found = self._named(namespace)
        records = found.fetch(request.ids) if found else {}
        shown = {key: self._shown(record, request.include_fields or ["*"]) for key, record in records.items()}
        return {"documents": shown, "namespace": namespace, "usage": {"read_units": 1}}

    def list_ids(self, asked: dict[str, Any], *_: Any) -> Any:
        namespace = asked.pop("namespace")
        request = valid(ListDocumentsRequest, **asked)
        limit = request.limit or 100
        found = self._named(namespace)
        ids = found.page(request.prefix or "", request.pagination_token or "", limit + 1) if found else []
        following = {"pagination": {"next": ids[limit - 1]}} if len(ids) > limit else {}
        listed = {"documents": [{"_id": key} for key in ids[:limit]], "namespace": namespace}
        return listed | {"usage": {"read_units": 1}} | following

    def delete(self, asked: dict[str, Any], *_: Any) -> Any:
        namespace = asked.pop("namespace")
        request = valid(DeleteDocumentsRequest, **asked)
        assert request.ids, "the stand-in deletes by ids alone"
        self._delete(namespace, request.ids)
        return {}

    def _fitting(
        self, found: VectorNamespace, clauses: Any, k: int, wanted: dict[str, Any]
    ) -> list[tuple[float, Record]]:
        for clause in clauses:
            if not isinstance(clause, TextQuery):
                raise Refusal(400, "The stand-in knows no other clauses than dense_vector and text")
            for name in clause.fields or []:
                self._check_field(name, "string")
        return found.fitting([(clause.query, clause.fields or []) for clause in clauses], k, wanted)

    def _record(self, document: dict[str, Any]) -> Record:
        """A document as it is kept, if Pinecone takes it."""
        key = document["_id"]
        fields = {name: value for name, value in document.items() if name != "_id"}
        name = next(name for name, declared in self.index.fields.items() if declared["type"] == "dense_vector")
        values = fields.pop(name, None)
        if values is None or len(values) != self.index.dimension:
            raise Refusal(400, f"The document {key} must have {self.index.dimension} numbers in the field {name}")
        if not any(values):
            raise Refusal(400, f"The document {key}: dense vectors must contain at least one non-zero value")
        for field, value in fields.items():
            check_value(key, field, value, text=field in self.index.fields)
        metadata = {field: value for field, value in fields.items() if field not in self.index.fields}
        if len(orjson.dumps(metadata)) > MAX_METADATA:
            raise Refusal(400, f"The document {key}: metadata size exceeds the limit of {MAX_METADATA} bytes")
        return {"id": key, "values": values, "metadata": fields}

    def _shown(self, record: Record, names: list[str]) -> dict[str, Any]:
        name = next(name for name, declared in self.index.fields.items() if declared["type"] == "dense_vector")
        fields = {**record["metadata"], name: record["values"]}
        return {"_id": record["id"]} | {key: value for key, value in fields.items() if key in names or "*" in names}

    def _check_field(self, name: str | None, kind: str) -> None:
        if not name or self.index.fields.get(name, {}).get("type") != kind:
            raise Refusal(400, f"The schema has no field {name} of the type {kind}")

    def _check_filter(self, wanted: dict[str, Any]) -> None:
        for name, condition in wanted.items():
            if name in ("$and", "$or"):
                for one in condition:
                    self._check_filter(one)
            elif name in self.index.fields:
                raise Refusal(400, f"The field {name} is searched, and takes no comparison")
            elif not isinstance(condition, dict) or not condition.keys() <= COMPARING:
                raise Refusal(400, f"The field {name} takes no {condition}")


def check_value(key: str, name: str, value: Any, *, text: bool) -> None:
    if name[0] in "_$":
        raise Refusal(400, f"The document {key}: {name} is no name of a field")
    if text and not isinstance(value, str):
        raise Refusal(400, f"The document {key}: the field {name} takes a text")
    if text and len(value.encode()) > MAX_TEXT_BYTES:
        raise Refusal(400, f"The document {key}: the field {name} is longer than 100 KB")
    if text and len(value) > 2 * MAX_TEXT_WORDS and len(re.findall(r"\w+", value)) > MAX_TEXT_WORDS:
        raise Refusal(400, f"The document {key}: the field {name} has more than 10,000 tokens")
    if not isinstance(value, str | int | float | bool | list):
        raise Refusal(400, f"The document {key}: the field {name} takes no {value}")


def valid(model: type[Model], **asked: Any) -> Model:
    """A request, if it is one of the client's."""
    try:
        return model(**asked)
    except (ValueError, TypeError, PineconeTypeError) as error:
        raise Refusal(400, str(error)) from error
