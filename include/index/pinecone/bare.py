"""Indexes of earlier releases, which did not search words: bare vectors with metadata.

They are read until their namespaces are retired. They are never written to or created.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import numpy as np
from pinecone import Index

from include.index.contract import Hit, Stored, Vectors
from include.index.pinecone.documents import FETCH_IDS, PAGE
from include.index.pinecone.records import Expression, unpack

ADDRESS_BYTES = 4_000
"""Of the ids in the address of a fetch; servers and proxies refuse long ones."""


class BareVectors:
    """One index of bare vectors; each method makes one request."""

    def __init__(self, client: Index) -> None:
        self.client = client

    def nearest(self, namespace: str, vector: Vectors, k: int, wanted: Expression | None) -> list[Hit]:
        matches = self.client.query(
            vector=vector.tolist(),
            top_k=k,
            namespace=namespace,
            filter=wanted,
            include_metadata=True,
        ).matches
        return [Hit(match.id, float(match.score), unpack(match.metadata or {})) for match in matches]

    def fetch(self, namespace: str, ids: Sequence[str]) -> dict[str, Stored]:
        found = self.client.fetch(ids=list(ids), namespace=namespace).vectors
        return {
            key: Stored(np.asarray(record.values, np.float32), unpack(record.metadata or {}))
            for key, record in found.items()
        }

    def groups(self, ids: Sequence[str]) -> list[list[str]]:
        """Ids in groups that fit into the address of a request."""
        groups: list[list[str]] = []
        length = 0
        for key in ids:
            size = len("&ids=") + len(quote(key, safe=""))
            if not groups or length + size > ADDRESS_BYTES or len(groups[-1]) == FETCH_IDS:
                groups.append([])
                length = 0
            groups[-1].append(key)
            length += size
        return groups

    def page(self, namespace: str, prefix: str, token: str | None) -> tuple[list[str], str | None]:
        """Some ids, and what to ask for the next with."""
        page = self.client.list_paginated(
            prefix=prefix or None, limit=PAGE, pagination_token=token, namespace=namespace
        )
        following = page.pagination.next if page.pagination else None
        return [item.id for item in page.vectors if item.id], following or None
