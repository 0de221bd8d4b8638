"""Pinecone as a EpisodeIndex: a namespace a model, in the index of its dimension."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from urllib.parse import quote

import numpy as np
from pinecone import Index

from include.index.contract import (
    Filter,
    Hit,
    IndexMismatchError,
    Metadata,
    NamespaceNotFoundError,
    Records,
    Stored,
    Vectors,
)
from include.index.pinecone.calls import Caller, ExistsError, MissingError, Patience
from include.index.pinecone.credentials import Credentials
from include.index.pinecone.family import Family, Member
from include.index.pinecone.records import expression, pack, requests, unpack
from include.index.pinecone.write import Writer, same

log = logging.getLogger(__name__)

QUERIES_AT_ONCE = 32
READS_AT_ONCE = 16
WRITES_AT_ONCE = 4
DELETE_IDS = 1_000
FETCH_IDS = 100
ADDRESS_BYTES = 4_000
"""Of the ids in the address of a fetch; servers and proxies refuse long ones."""
PAGE = 100
"""Ids that Pinecone lists at a time; it gives no more."""
FIRST_CHARACTERS = [chr(code) for code in range(0x21, 0x7F)]
"""With which ids begin: printable ASCII, as :data:`include.episodes.quarantine` has it."""
SAMPLE = 20
DEFAULT_NAMESPACE = "__default__"
"""Pinecone has it in every index; it is not ours."""


class PineconeIndex:
    """See :class:`include.index.contract.EpisodeIndex`.

    Reads show a write a moment after it was made; every write here returns when they do, or when ``patience.settled``
    is over. Pinecone's statistics lag further behind, so that records are counted by listing them.

    :param name: beginning of the indexes' names (lower-case letters, digits, hyphens); the dimension follows.
    """

    backend = "pinecone"

    def __init__(self, name: str, credentials: Credentials, *, patience: Patience | None = None) -> None:
        # One line for each of thousands of requests, with ids in them, is too much for a task's log.
        for noisy in ("httpx", "pinecone"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self.name = name
        self._patience = patience or Patience()
        self._caller = Caller(self._patience, credentials.api_key.strip())
        self._family = Family(name, credentials, self._caller, self._patience)
        self._opened: dict[str, Member] = {}

    def create(self, namespace: str, dimension: int) -> None:
        there = self._find(namespace)
        if there is not None and there.dimension != dimension:
            raise IndexMismatchError(
                f"{namespace} cannot hold the model's vectors of {dimension} dimensions: "
                f"it is in the index {there.name}."
            )
        member = self._family.ensure(dimension)
        if there is not None:
            return
        try:
            self._caller.call(f"creating {namespace}", partial(member.client.create_namespace, name=namespace))
        except ExistsError:
            log.info("The namespace %s was made meanwhile.", namespace)
        self._settle(f"that {namespace} is there", lambda: namespace in self._names(member, prefix=namespace))
        self._opened[namespace] = member

    def upsert(self, namespace: str, batches: Iterable[Records]) -> int:
        member = self._open(namespace)
        writer = Writer(self._caller, member.client, namespace)
        writer.write(requests(_checked(batch, member, namespace) for batch in batches))
        if writer.last:
            self._settle(
                f"what was written to {namespace}", lambda: same(self.fetch(namespace, list(writer.last)), writer.last)
            )
        return writer.rows

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        client = self._open(namespace).client

        def delete(chunk: list[str]) -> None:
            self._caller.call(f"deleting from {namespace}", partial(client.delete, ids=chunk, namespace=namespace))

        self._caller.each(delete, list(_chunks(ids, DELETE_IDS)), at_once=WRITES_AT_ONCE)
        if ids:
            last = list(ids[-SAMPLE:])
            self._settle(f"what was deleted from {namespace}", lambda: not self.fetch(namespace, last))

    def search_vectors(self, namespace: str, vectors: Vectors, k: int, filter: Filter | None = None) -> list[list[Hit]]:
        member = self._open(namespace)
        wanted = expression(filter)
        if k < 1:
            raise ValueError("Ask for at least one result.")
        if len(vectors) and vectors.shape[1:] != (member.dimension,):
            raise IndexMismatchError(
                f"{namespace} holds vectors of {member.dimension} dimensions; asked with shape {vectors.shape}."
            )

        def ask(vector: Vectors) -> list[Hit]:
            matches = self._caller.call(
                f"searching {namespace}",
                partial(
                    member.client.query,
                    vector=vector.tolist(),
                    top_k=k,
                    namespace=namespace,
                    filter=wanted,
                    include_metadata=True,
                ),
            ).matches
            hits = [Hit(match.id, float(match.score), unpack(match.metadata or {})) for match in matches]
            return sorted(hits, key=lambda hit: (-hit.score, hit.episode_id))

        answers = self._caller.each(ask, list(np.asarray(vectors, np.float32)), at_once=QUERIES_AT_ONCE)
        if not all(answers):
            # Pinecone answers for a namespace that another process dropped as for an empty one.
            self._opened.pop(namespace, None)
            self._open(namespace)
        return answers

    def search_words(
        self, namespace: str, queries: Sequence[str], k: int, filter: Filter | None = None
    ) -> list[list[Hit]]:
        """An index of vectors alone has no words."""
        self._open(namespace)
        return [[] for _ in queries]

    def fetch(self, namespace: str, ids: Sequence[str]) -> dict[str, Stored]:
        client = self._open(namespace).client

        def fetch(chunk: list[str]) -> dict[str, Stored]:
            found = self._caller.call(
                f"reading from {namespace}", partial(client.fetch, ids=chunk, namespace=namespace)
            ).vectors
            return {
                key: Stored(np.asarray(record.values, np.float32), unpack(record.metadata or {}))
                for key, record in found.items()
            }

        chunks = list(_addressable(ids))
        found = self._caller.each(fetch, chunks, at_once=READS_AT_ONCE)
        return {key: record for part in found for key, record in part.items()}

    def kept(self, metadata: Metadata) -> Metadata:
        return unpack(pack(metadata))

    def count(self, namespace: str) -> int:
        return sum(1 for _ in self.list_ids(namespace))

    def list_ids(self, namespace: str) -> Iterator[str]:
        """All ids; those of more than a page in no order, for they are listed by their first characters at once."""
        client = self._open(namespace).client
        first, token = self._page(client, namespace, "", None)
        if token is None:
            return iter(first)

        def list_some(prefix: str) -> list[str]:
            ids, token = self._page(client, namespace, prefix, None)
            while token is not None:
                more, token = self._page(client, namespace, prefix, token)
                ids += more
            return ids

        return chain.from_iterable(self._caller.each(list_some, FIRST_CHARACTERS, at_once=READS_AT_ONCE))

    def namespaces(self) -> list[str]:
        return sorted(name for member in self._family.members() for name in self._names(member))

    def finish(self, namespace: str) -> str:
        """Pinecone builds what makes a namespace fast by itself."""
        self._open(namespace)
        return "Pinecone serverless"

    def drop(self, namespace: str) -> None:
        self._opened.pop(namespace, None)
        member = self._find(namespace)
        if member is None:
            return
        try:
            self._caller.call(f"dropping {namespace}", partial(member.client.delete_namespace, name=namespace))
        except MissingError:
            log.info("The namespace %s was dropped meanwhile.", namespace)
        self._settle(f"that {namespace} is gone", lambda: namespace not in self._names(member, prefix=namespace))

    def _open(self, namespace: str) -> Member:
        """Where a namespace is, which is looked up once."""
        if namespace not in self._opened:
            member = self._find(namespace)
            if member is None:
                raise NamespaceNotFoundError(namespace, self.name, setting="PODSEARCH_PINECONE_INDEX")
            self._opened[namespace] = member
        return self._opened[namespace]

    def _find(self, namespace: str) -> Member | None:
        members = self._family.members()
        return next((member for member in members if namespace in self._names(member, prefix=namespace)), None)

    def _names(self, member: Member, *, prefix: str | None = None) -> set[str]:
        """The namespaces of one index."""
        pages = self._caller.call(
            f"listing the namespaces of {member.name}", lambda: list(member.client.list_namespaces(prefix=prefix))
        )
        return {found.name for page in pages for found in page.namespaces} - {DEFAULT_NAMESPACE, ""}

    def _page(self, client: Index, namespace: str, prefix: str, token: str | None) -> tuple[list[str], str | None]:
        """Some ids, and what to ask for the next with."""
        page = self._caller.call(
            f"listing {namespace}",
            partial(
                client.list_paginated,
                prefix=prefix or None,
                limit=PAGE,
                pagination_token=token,
                namespace=namespace,
            ),
        )
        following = page.pagination.next if page.pagination else None
        return [item.id for item in page.vectors if item.id], following or None

    def _settle(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until reads show a write. If they never do, verification finds it; here it is no error."""
        if not self._caller.until(condition, limit=self._patience.settled):
            log.warning("Pinecone does not show %s after %.0f s.", what, self._patience.settled)


def _checked(batch: Records, member: Member, namespace: str) -> Records:
    if batch.values.shape != (len(batch.ids), member.dimension):
        raise IndexMismatchError(
            f"{namespace} takes {member.dimension} dimensions; got an array of shape {batch.values.shape}."
        )
    return batch


def _chunks(ids: Sequence[str], size: int) -> Iterator[list[str]]:
    return (list(ids[start : start + size]) for start in range(0, len(ids), size))


def _addressable(ids: Iterable[str]) -> Iterator[list[str]]:
    """Ids in groups that fit into the address of a request."""
    group: list[str] = []
    length = 0
    for key in ids:
        size = len("&ids=") + len(quote(key, safe=""))
        if group and (length + size > ADDRESS_BYTES or len(group) == FETCH_IDS):
            yield group
            group, length = [], 0
        group.append(key)
        length += size
    if group:
        yield group
