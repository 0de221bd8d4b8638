"""The indexes that namespaces are created in: documents with a vector and searchable words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pinecone import DenseVectorQuery, Index, TextQuery

from include.index.contract import Hit, Stored, Vectors
from include.index.pinecone.records import (
    DESCRIPTION,
    SHOWN,
    VECTOR,
    WORDS,
    Expression,
    unpack,
)

METRIC = "cosine"
FETCH_IDS = 100
PAGE = 100
"""How many ids Pinecone lists at a time; it allows no more."""
WHOLE = 100
"""How many hits may come with their texts in one answer. Pinecone's limit is 4 MB, or 40 KB for each of these; the
texts of more are fetched separately."""


def schema(dimension: int) -> dict[str, Any]:
    """What an index of documents searches, with English stems, as the embedded one takes them for all languages.

    What is only shown or filtered by is not declared.
    """
    return {
        "fields": {
            VECTOR: {"type": "dense_vector", "dimension": dimension, "metric": METRIC},
            WORDS: {"type": "string", "full_text_search": {"language": "en", "stemming": True}},
            # Not searched by itself; but texts that are not declared may have 40 KB together.
            DESCRIPTION: {"type": "string", "full_text_search": {}},
        }
    }


class Documents:
    """One index of documents; each method makes as few requests as possible, one after the other."""

    def __init__(self, client: Index) -> None:
        self.client = client

    def nearest(self, namespace: str, vector: Vectors, k: int, wanted: Expression | None) -> list[Hit]:
        return self._search(namespace, DenseVectorQuery(field=VECTOR, values=vector.tolist()), k, wanted)

    def fitting(self, namespace: str, text: str, k: int, wanted: Expression | None) -> list[Hit]:
        """Search by BM25; the text has no syntax, as Pinecone documents for this clause.

        :param text: see :func:`include.index.pinecone.words.asked`.
        """
        return self._search(namespace, TextQuery(query=text, fields=[WORDS]), k, wanted)

    def fetch(self, namespace: str, ids: Sequence[str]) -> dict[str, Stored]:
        found = self._read(namespace, ids, [VECTOR, *SHOWN])
        return {key: Stored(np.asarray(fields[VECTOR], np.float32), unpack(fields)) for key, fields in found.items()}

    def groups(self, ids: Sequence[str]) -> list[list[str]]:
        """Ids as they are fetched at a time."""
        return [list(ids[start : start + FETCH_IDS]) for start in range(0, len(ids), FETCH_IDS)]

    def page(self, namespace: str, prefix: str, token: str | None) -> tuple[list[str], str | None]:
        """Some ids, and what to ask for the next with."""
        listed = self.client.documents.list(
            namespace=namespace, prefix=prefix or None, limit=PAGE, pagination_token=token
        )
        page = next(listed.pages())
        return [document.id for document in page.items], page.pagination_token or None

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        self.client.documents.delete(namespace=namespace, ids=list(ids))

    def _search(
        self, namespace: str, clause: DenseVectorQuery | TextQuery, k: int, wanted: Expression | None
    ) -> list[Hit]:
        whole = k <= WHOLE
        matches = self.client.documents.search(
            namespace=namespace,
            score_by=[clause],
            top_k=k,
            include_fields=SHOWN if whole else [],
            filter=wanted,
        ).matches
        if whole:
            return [Hit(match.id, match.score or 0.0, unpack(match.to_dict())) for match in matches]
        fields = self._read(namespace, [match.id for match in matches], SHOWN)
        return [Hit(match.id, match.score or 0.0, unpack(fields[match.id])) for match in matches if match.id in fields]

    def _read(self, namespace: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        return {
            key: document.to_dict()
            for group in self.groups(ids)
            for key, document in self.client.documents.fetch(
                namespace=namespace, ids=group, include_fields=fields
            ).documents.items()
        }
