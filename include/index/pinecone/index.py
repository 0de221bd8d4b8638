"""Pinecone as an EpisodeIndex: one namespace per model, in the index of its dimension."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain

import numpy as np

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
from include.index.pinecone import words
from include.index.pinecone.bare import BareVectors
from include.index.pinecone.calls import ExistsError, Item, MissingError, Patience, PineconeRequests
from include.index.pinecone.credentials import Credentials
from include.index.pinecone.documents import Documents
from include.index.pinecone.family import PineconeIndexes, PineconeIndexPart
from include.index.pinecone.records import Expression, expression, pack, requests, unpack
from include.index.pinecone.write import Writer, same

log = logging.getLogger(__name__)

QUERIES_AT_ONCE = 32
READS_AT_ONCE = 16
WRITES_AT_ONCE = 4
DELETE_IDS = 1_000
FIRST_CHARACTERS = [chr(code) for code in range(0x21, 0x7F)]
"""With which ids begin: printable ASCII, as :data:`include.episodes.quarantine` has it."""
SAMPLE = 20
SEARCHED_SAMPLE = 4
"""How many written records are searched for by their words, because Pinecone indexes words some time after records can
be read."""
SAME_TEXT = 100
"""Most records of one text among which one is looked for."""
DEFAULT_NAMESPACE = "__default__"
"""Pinecone has it in every index of bare vectors; it is not ours."""


class PineconeIndex:
    """See :class:`include.index.contract.EpisodeIndex`.

    Namespaces are created in indexes of documents. Those of earlier releases, in indexes of bare vectors, are read and
    dropped, but not written to.

    Reads show a write with a short delay; every write here returns when they do, or after ``patience.settled``.
    Pinecone's statistics lag further behind, so records are counted by listing them.

    :param name: beginning of the indexes' names (lower-case letters, digits, hyphens); the dimension follows, and
        ``-words`` where there are any.
    """

    backend = "pinecone"

    def __init__(self, name: str, credentials: Credentials, *, patience: Patience | None = None) -> None:
        # One line for each of thousands of requests, with ids in them, is too much for a task's log.
        for noisy in ("httpx", "pinecone"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self.name = name
        self._patience = patience or Patience()
        self._caller = PineconeRequests(self._patience, credentials.api_key.strip())
        self._family = PineconeIndexes(name, credentials, self._caller)
        self._opened: dict[str, PineconeIndexPart] = {}

    def create(self, namespace: str, dimension: int) -> None:
        there = self._find(namespace)
        if there is not None and there.dimension != dimension:
            raise IndexMismatchError(
                f"{namespace} cannot hold the model's vectors of {dimension} dimensions: "
                f"it is in the index {there.name}."
            )
        if there is not None:
            return
        member = self._family.ensure(dimension)
        try:
            self._caller.call(f"creating {namespace}", partial(member.client.create_namespace, name=namespace))
        except ExistsError:
            log.info("The namespace %s was made meanwhile.", namespace)
        self._settle(f"that {namespace} is there", lambda: namespace in self._names(member, prefix=namespace))
        self._opened[namespace] = member

    def upsert(self, namespace: str, batches: Iterable[Records]) -> int:
        member = self._open(namespace)
        documents = _written(member, namespace)
        writer = Writer(self._caller, documents.client, namespace)
        writer.write(requests(_checked(batch, member, namespace) for batch in batches))
        if writer.last:
            self._settle(
                f"what was written to {namespace}", lambda: same(self.fetch(namespace, list(writer.last)), writer.last)
            )
            some = dict(list(writer.last.items())[-SEARCHED_SAMPLE:])
            self._settle(
                f"the words of what was written to {namespace}", lambda: self._has_words(documents, namespace, some)
            )
        return writer.rows

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        documents = _written(self._open(namespace), namespace)

        def delete(start: int) -> None:
            some = ids[start : start + DELETE_IDS]
            self._caller.call(f"deleting from {namespace}", partial(documents.delete, namespace, some))

        self._caller.each(delete, range(0, len(ids), DELETE_IDS), at_once=WRITES_AT_ONCE)
        if ids:
            last = list(ids[-SAMPLE:])
            self._settle(f"what was deleted from {namespace}", lambda: not self.fetch(namespace, last))

    def search_vectors(self, namespace: str, vectors: Vectors, k: int, filter: Filter | None = None) -> list[list[Hit]]:
        member = self._open(namespace)
        wanted = _asked(k, filter)
        if len(vectors) and vectors.shape[1:] != (member.dimension,):
            raise IndexMismatchError(
                f"{namespace} holds vectors of {member.dimension} dimensions; asked with shape {vectors.shape}."
            )
        return self._search(
            namespace,
            lambda vector: member.held.nearest(namespace, vector, k, wanted),
            list(np.asarray(vectors, np.float32)),
        )

    def search_words(
        self, namespace: str, queries: Sequence[str], k: int, filter: Filter | None = None
    ) -> list[list[Hit]]:
        held = self._open(namespace).held
        wanted = _asked(k, filter)
        if isinstance(held, BareVectors):
            return [[] for _ in queries]
        texts = [words.asked(query) for query in queries]
        found = iter(
            self._search(
                namespace,
                lambda text: held.fitting(namespace, text, k, wanted),
                [text for text in texts if text is not None],
            )
        )
        return [[] if text is None else next(found) for text in texts]

    def fetch(self, namespace: str, ids: Sequence[str]) -> dict[str, Stored]:
        held = self._open(namespace).held

        def fetch(group: list[str]) -> dict[str, Stored]:
            return self._caller.call(f"reading from {namespace}", partial(held.fetch, namespace, group))

        found = self._caller.each(fetch, held.groups(ids), at_once=READS_AT_ONCE)
        return {key: record for part in found for key, record in part.items()}

    def kept(self, metadata: Metadata) -> Metadata:
        return unpack(pack(metadata))

    def count(self, namespace: str) -> int:
        return sum(1 for _ in self.list_ids(namespace))

    def list_ids(self, namespace: str) -> Iterator[str]:
        """All ids; more than one page come in no order, because they are listed by their first characters in
        parallel."""
        held = self._open(namespace).held

        def page(prefix: str, token: str | None) -> tuple[list[str], str | None]:
            return self._caller.call(f"listing {namespace}", partial(held.page, namespace, prefix, token))

        first, token = page("", None)
        if token is None:
            return iter(first)

        def list_some(prefix: str) -> list[str]:
            ids, token = page(prefix, None)
            while token is not None:
                more, token = page(prefix, token)
                ids += more
            return ids

        return chain.from_iterable(self._caller.each(list_some, FIRST_CHARACTERS, at_once=READS_AT_ONCE))

    def namespaces(self) -> list[str]:
        return sorted(name for member in self._family.members() for name in self._names(member))

    def finish(self, namespace: str) -> None:
        """Pinecone optimises a namespace by itself."""
        self._open(namespace)

    def kind(self, namespace: str) -> str:
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

    def _open(self, namespace: str) -> PineconeIndexPart:
        """Where a namespace is, which is looked up once."""
        if namespace not in self._opened:
            member = self._find(namespace)
            if member is None:
                raise NamespaceNotFoundError(namespace, self.name, setting="PODSEARCH_PINECONE_INDEX")
            self._opened[namespace] = member
        return self._opened[namespace]

    def _find(self, namespace: str) -> PineconeIndexPart | None:
        members = self._family.members()
        return next((member for member in members if namespace in self._names(member, prefix=namespace)), None)

    def _names(self, member: PineconeIndexPart, *, prefix: str | None = None) -> set[str]:
        """The namespaces of one index."""
        pages = self._caller.call(
            f"listing the namespaces of {member.name}", lambda: list(member.client.list_namespaces(prefix=prefix))
        )
        return {found.name for page in pages for found in page.namespaces} - {DEFAULT_NAMESPACE, ""}

    def _search(self, namespace: str, ask: Callable[[Item], list[Hit]], queries: Sequence[Item]) -> list[list[Hit]]:
        """The answer to each query, best first, equal scores by id."""

        def answer(query: Item) -> list[Hit]:
            hits = self._caller.call(f"searching {namespace}", lambda: ask(query))
            return sorted(hits, key=lambda hit: (-hit.score, hit.episode_id))

        answers = self._caller.each(answer, queries, at_once=QUERIES_AT_ONCE)
        if not all(answers):
            # Pinecone answers for a namespace that another process dropped as for an empty one.
            self._opened.pop(namespace, None)
            self._open(namespace)
        return answers

    def _has_words(self, documents: Documents, namespace: str, written: dict[str, Stored]) -> bool:
        """Whether a written record is found by one of its words, if it has a suitable one."""
        for key, record in written.items():
            word = words.CERTAIN.search(words.searched(record.metadata))
            if word is None:
                continue
            wanted = expression({"content_hash": record.metadata.content_hash})
            hits = self._caller.call(
                f"searching {namespace}", partial(documents.fitting, namespace, word[0], SAME_TEXT, wanted)
            )
            if len(hits) < SAME_TEXT and key not in {hit.episode_id for hit in hits}:
                return False
        return True

    def _settle(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until reads show a write. If they never do, verification will notice; here it is not an error."""
        if not self._caller.until(condition, limit=self._patience.settled):
            log.warning("Pinecone does not show %s after %.0f s.", what, self._patience.settled)


def _checked(batch: Records, member: PineconeIndexPart, namespace: str) -> Records:
    if batch.values.shape != (len(batch.ids), member.dimension):
        raise IndexMismatchError(
            f"{namespace} takes {member.dimension} dimensions; got an array of shape {batch.values.shape}."
        )
    return batch


def _written(member: PineconeIndexPart, namespace: str) -> Documents:
    """What may be written to."""
    if isinstance(member.held, BareVectors):
        raise IndexMismatchError(
            f"{namespace} is in the index {member.name}, which an earlier release made, and which holds no words: it "
            "is read until it is retired, and not written to. Run reindex_episodes, which makes another."
        )
    return member.held


def _asked(k: int, wanted: Filter | None) -> Expression | None:
    """The filter of a search in Pinecone's language."""
    asked = expression(wanted)
    if k < 1:
        raise ValueError("Ask for at least one result.")
    return asked
