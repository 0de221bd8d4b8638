"""What the stand-in for Pinecone does: its control plane, and the data plane of an index of bare vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from tests.standins.pinecone_schema import BARE, Refusal, StandInIndex, check_schema
from tests.standins.vectors import Record, VectorNamespace

if TYPE_CHECKING:
    from tests.standins.pinecone import PineconeStandIn

DEFAULT = "__default__"
MAX_RECORDS, MAX_DELETED, MAX_PAGE, MAX_RESULTS, MAX_ID, MAX_METADATA = 1_000, 1_000, 100, 10_000, 512, 40_960


class Control:
    """The control plane."""

    def __init__(self, pinecone: PineconeStandIn) -> None:
        self.pinecone = pinecone

    def answer(self, what: str, name: str, asked: dict[str, Any]) -> Any:
        if what == "list_indexes":
            return {"indexes": [index.describe() for index in self.pinecone.indexes.values()]}
        if what == "create_index":
            return self.create(asked)
        if name not in self.pinecone.indexes:
            raise Refusal(404, f"Resource {name} not found")
        index = self.pinecone.indexes[name]
        if what == "delete_index":
            self.pinecone.stop(name)
            del self.pinecone.indexes[name]
            return {}
        described = index.describe()
        with self.pinecone.lock:
            self.pinecone.ready_after -= 1
            index.ready = self.pinecone.ready_after <= 0
        return described

    def create(self, asked: dict[str, Any]) -> Any:
        fields = asked["schema"]["fields"]
        if BARE not in fields:
            check_schema(fields)
        with self.pinecone.lock:
            if asked["name"] in self.pinecone.indexes:
                raise Refusal(409, "Resource already exists")
            index = self.pinecone.add_index(asked["name"], fields)
        index.deployment = asked.get("deployment", index.deployment)
        index.ready = self.pinecone.ready_after <= 0
        return index.describe()


class Data:
    """The data plane of one index, as far as it is the same for all."""

    def __init__(self, pinecone: PineconeStandIn, index: StandInIndex) -> None:
        self.pinecone = pinecone
        self.index = index

    def statistics(self, *_: Any) -> Any:
        counts = {name: found.count() for name, found in self.index.namespaces.items()}
        return {
            "namespaces": {name: {"vectorCount": number} for name, number in counts.items()},
            "dimension": self.index.dimension,
            "totalVectorCount": sum(counts.values()),
        }

    def create_namespace(self, asked: dict[str, Any], *_: Any) -> Any:
        if asked["name"] in self.index.namespaces:
            raise Refusal(409, "Namespace already exists")
        self._made(asked["name"])
        return self._described(asked["name"])

    def list_namespaces(self, _: Any, parameters: dict[str, list[str]], *__: Any) -> Any:
        prefix, token = (parameters.get(name, [""])[0] for name in ("prefix", "paginationToken"))
        limit = int(parameters.get("limit", ["100"])[0])
        names = sorted({*self.index.namespaces, *([] if self.index.has_documents else [DEFAULT])})
        left = [name for name in names if name.startswith(prefix) and name > token]
        following = {"pagination": {"next": left[limit - 1]}} if len(left) > limit else {}
        return {"namespaces": [self._described(name) for name in left[:limit]], "total_count": len(left)} | following

    def describe_namespace(self, asked: dict[str, Any], *_: Any) -> Any:
        self._required(asked["name"])
        return self._described(asked["name"])

    def delete_namespace(self, asked: dict[str, Any], *_: Any) -> Any:
        self._required(asked["name"])
        del self.index.namespaces[asked["name"]]
        return {}

    def _put(self, name: str, records: list[Record], part: int | None) -> None:
        with self.pinecone.lock:
            self.pinecone.batches.append(len(records))
            self.pinecone.written += [record["id"] for record in records[:part]]
        self._made(name).upsert(records[:part])

    def _delete(self, name: str, ids: list[str]) -> None:
        found = self._required(name)
        with self.pinecone.lock:
            self.pinecone.deleted += ids
        found.delete(ids)

    def _described(self, name: str) -> dict[str, Any]:
        found = self.index.namespaces.get(name)
        return {"name": name, "record_count": str(found.count() if found else 0)}

    def _required(self, name: str) -> VectorNamespace:
        found = self._named(name)
        if found is None:
            raise Refusal(404, "Namespace not found")
        return found

    def _named(self, name: str | None) -> VectorNamespace | None:
        return self.index.namespaces.get(name or DEFAULT)

    def _made(self, name: str) -> VectorNamespace:
        with self.pinecone.lock:
            found = self.index.namespaces.setdefault(name, VectorNamespace(self.index.dimension))
        found.lag, found.statistics_lag = self.pinecone.lag, self.pinecone.statistics_lag
        found.words_lag = self.pinecone.words_lag
        return found


class BareVectors(Data):
    """The data plane of an index of bare vectors."""

    def upsert(self, asked: dict[str, Any], _: Any, part: int | None) -> Any:
        records = asked["vectors"]
        if len(records) > MAX_RECORDS or len({record["id"] for record in records}) < len(records):
            raise Refusal(400, f"At most {MAX_RECORDS} records, each once")
        for record in records:
            check_record(record, self.index.dimension)
        self._put(asked.get("namespace") or DEFAULT, records, part)
        return {"upsertedCount": len(records)}

    def query(self, asked: dict[str, Any], *_: Any) -> Any:
        if asked["topK"] > MAX_RESULTS or len(asked["vector"]) != self.index.dimension:
            raise Refusal(400, f"The dimension of the index is {self.index.dimension}; top_k is {MAX_RESULTS} at most")
        found = self._named(asked.get("namespace"))
        values = bool(asked.get("includeValues"))
        matches = found.nearest(asked["vector"], asked["topK"], asked.get("filter"), values=values) if found else []
        shown = {"id", "values", *(["metadata"] if asked.get("includeMetadata") else [])}
        return {
            "matches": [
                {"score": score} | {name: value for name, value in record.items() if name in shown}
                for score, record in matches
            ],
            "namespace": asked.get("namespace", ""),
            "usage": {"readUnits": 1},
        }

    def fetch(self, _: Any, parameters: dict[str, list[str]], *__: Any) -> Any:
        found = self._named(parameters.get("namespace", [""])[0])
        return {"vectors": found.fetch(parameters["ids"]) if found else {}, "namespace": "", "usage": {"readUnits": 1}}

    def list_ids(self, _: Any, parameters: dict[str, list[str]], *__: Any) -> Any:
        limit = int(parameters.get("limit", ["100"])[0])
        if limit > MAX_PAGE:
            raise Refusal(400, f"At most {MAX_PAGE} ids")
        found = self._named(parameters.get("namespace", [""])[0])
        prefix, token = (parameters.get(name, [""])[0] for name in ("prefix", "paginationToken"))
        ids = found.page(prefix, token, limit + 1) if found else []
        following = {"pagination": {"next": ids[limit - 1]}} if len(ids) > limit else {}
        return {"vectors": [{"id": key} for key in ids[:limit]], "usage": {"readUnits": 1}} | following

    def update(self, asked: dict[str, Any], *_: Any) -> Any:
        found = self._named(asked.get("namespace"))
        if found:
            found.update(asked["id"], asked.get("values"), asked.get("setMetadata") or {})
        return {}

    def delete(self, asked: dict[str, Any], *_: Any) -> Any:
        if len(asked.get("ids", [])) > MAX_DELETED:
            raise Refusal(400, f"At most {MAX_DELETED} ids")
        name = asked.get("namespace") or DEFAULT
        if asked.get("deleteAll"):
            self._required(name)
            self.index.namespaces[name] = VectorNamespace(self.index.dimension)
        else:
            self._delete(name, asked["ids"])
        return {}


def check_record(record: dict[str, Any], dimension: int) -> None:
    """Refuse what Pinecone refuses."""
    values, metadata = record["values"], record.get("metadata") or {}
    if len(values) != dimension:
        raise Refusal(400, f"Vector dimension {len(values)} does not match the dimension of the index {dimension}")
    if not any(values):
        raise Refusal(400, "Dense vectors must contain at least one non-zero value")
    if not 0 < len(record["id"]) <= MAX_ID:
        raise Refusal(400, f"The id {record['id'][:20]} must have 1 to {MAX_ID} characters")
    if any(value is None for value in metadata.values()):
        raise Refusal(400, "Metadata value must be a string, number, boolean or list of strings, got null")
    if len(orjson.dumps(metadata)) > MAX_METADATA:
        raise Refusal(400, f"Metadata size exceeds the limit of {MAX_METADATA} bytes per vector")
