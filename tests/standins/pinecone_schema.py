"""What an index of the stand-in for Pinecone is: the fields that it was declared with, and its namespaces."""

from __future__ import annotations

from typing import Any

from tests.standins.vectors import VectorNamespace

BARE = "_values"
"""The one field of an index of bare vectors."""
MAX_TEXTS, MAX_FIELD = 100, 64


class Refusal(Exception):
    """An answer with another status than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class StandInIndex:
    """One index: its namespaces, and the server that answers for it.

    :param fields: of its schema; ``_values`` is the one of an index of bare vectors.
    """

    def __init__(self, name: str, fields: dict[str, Any]) -> None:
        self.name = name
        self.fields = fields
        (self.dimension,) = (field["dimension"] for field in fields.values() if field["type"] == "dense_vector")
        self.has_documents = BARE not in fields
        self.host = ""
        self.ready = True
        self.deployment: dict[str, Any] = {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}
        self.namespaces: dict[str, VectorNamespace] = {}

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "host": self.host,
            "status": {"ready": self.ready, "state": "Ready" if self.ready else "Initializing"},
            "schema": {"fields": described(self.fields)},
            "deployment": self.deployment,
            "deletion_protection": "disabled",
        }


def check_schema(fields: dict[str, Any]) -> None:
    """Refuse a schema that Pinecone refuses."""
    if sum(field["type"] == "dense_vector" for field in fields.values()) != 1:
        raise Refusal(400, "The stand-in's indexes have one dense vector")
    if sum(field["type"] == "string" for field in fields.values()) > MAX_TEXTS:
        raise Refusal(400, f"At most {MAX_TEXTS} fields may have full-text search")
    for name, field in fields.items():
        if name[0] in "_$" or len(name.encode()) > MAX_FIELD:
            raise Refusal(400, f"{name} is no name of a field")
        text = field.get("full_text_search")
        if field["type"] == "string" and (text is None or "filterable" in field):
            raise Refusal(400, f"The field {name} is not searched: it must not be in the schema")
        if field["type"] not in ("dense_vector", "string"):
            raise Refusal(400, f"The field {name} must not be in the schema")
        if text and text.get("stop_words") and not text.get("stemming"):
            raise Refusal(400, f"The field {name} has stop words without stemming")


def described(fields: dict[str, Any]) -> dict[str, Any]:
    """A schema as Pinecone answers with it: with all that was left out."""
    analysis = {"language": "en", "stemming": False, "stop_words": False}
    return {
        name: {"description": None, "store_text": True}
        | field
        | {"full_text_search": analysis | field["full_text_search"]}
        if field["type"] == "string"
        else {"description": None} | field
        for name, field in fields.items()
    }
