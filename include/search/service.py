"""The search service: a query in a listener's words, the best episodes of the live index."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

from include.index.contract import Filter, Hit, VectorIndex
from include.index.live import LivePointer, require_live
from include.retriever.encoders.contract import Encoder
from include.retriever.encoders.opening import Engine, open_encoder
from include.storage import ArtifactStore

MAX_QUERY_CHARS = 1_000
MAX_RESULTS = 1_000
"""The most that every backend gives: Pinecone with metadata."""


class _Opened(NamedTuple):
    """A namespace that is live, and what encodes queries for it: both of one model."""

    namespace: str
    encoder: Encoder


class SearchService:
    """Answers queries from what is live: each reads the pointer, and so follows it to another model at once.

    What was live just before is kept when namespaces are dropped, so that a query which has read the pointer is
    answered, whatever becomes live meanwhile. A service may be used by several threads.

    :param engine: what encodes queries; ``auto`` takes a second to open and answers sooner then.
    :raises NothingLiveError: nothing is live yet.
    """

    def __init__(
        self, store: ArtifactStore, index: VectorIndex, *, device: str = "cpu", engine: Engine = "auto"
    ) -> None:
        self._store = store
        self._index = index
        self._device = device
        self._engine: Engine = engine
        self._opening = threading.Lock()
        self._opened = self._open(require_live(store))

    def search(self, query: str, k: int = 10, filter: Filter | None = None) -> list[Hit]:
        """The k best episodes, best first.

        :raises ValueError: the query is empty, or ``k`` is not from 1 to :data:`MAX_RESULTS`.
        """
        return self.search_many([query], k, filter)[0]

    def search_many(self, queries: Sequence[str], k: int = 10, filter: Filter | None = None) -> list[list[Hit]]:
        """The answers of several queries, encoded and asked together."""
        # A terminal's bytes that are no UTF-8 arrive as lone surrogates, which no tokenizer takes.
        texts = [" ".join(query.encode("utf-8", "replace").decode().split())[:MAX_QUERY_CHARS] for query in queries]
        if not all(texts):
            raise ValueError('Say what you are looking for, e.g. make search Q="eat better during the holidays".')
        if not 1 <= k <= MAX_RESULTS:
            raise ValueError(f"Ask for at least one result and at most {MAX_RESULTS:,}, not for {k:,}.")
        namespace, encoder = self._live()
        return self._index.query(namespace, encoder.encode(texts, kind="query"), k, filter)

    def _live(self) -> _Opened:
        """What is live now; its model is opened when another one was live before."""
        live = require_live(self._store)
        with self._opening:
            if self._opened.namespace != live.namespace:
                self._opened = self._open(live)
            return self._opened

    def _open(self, live: LivePointer) -> _Opened:
        encoder = open_encoder(self._store, live.model_version, self._device, engine=self._engine)
        return _Opened(live.namespace, encoder)
