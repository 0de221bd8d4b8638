"""The search service: a query in a listener's words, the best episodes of the live index."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from include.index.contract import EpisodeIndex, Filter, Hit
from include.index.live import LivePointer, require_live
from include.retriever.encoders.contract import Encoder
from include.retriever.encoders.opening import Engine, open_encoder
from include.storage import ArtifactStore

MAX_QUERY_CHARS = 1_000
MAX_RESULTS = 1_000
"""The most that every backend gives: Pinecone with metadata."""


@dataclass(frozen=True)
class _Opened:
    """What is live, its index, and what encodes queries for it: all of one pointer."""

    live: LivePointer
    index: EpisodeIndex
    encoder: Encoder


class SearchService:
    """Answers queries from what is live: each reads the pointer, and so follows it at once, also to another backend.

    What was live just before is kept when namespaces are dropped, so that a query which has read the pointer is
    answered, whatever becomes live meanwhile. A service may be used by several threads.

    :param open_index: opens the index that a pointer names.
    :param engine: what encodes queries; ``auto`` takes a second to open and answers sooner then.
    :raises NothingLiveError: nothing is live yet.
    """

    def __init__(
        self,
        store: ArtifactStore,
        open_index: Callable[[LivePointer], EpisodeIndex],
        *,
        device: str = "cpu",
        engine: Engine = "auto",
    ) -> None:
        self._store = store
        self._open_index = open_index
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
        opened = self._live()
        return opened.index.search_vectors(opened.live.namespace, opened.encoder.encode(texts, kind="query"), k, filter)

    def _live(self) -> _Opened:
        """What is live now; what of it was not live before is opened."""
        live = require_live(self._store)
        with self._opening:
            if _place(self._opened.live) != _place(live):
                self._opened = self._open(live)
            return self._opened

    def _open(self, live: LivePointer) -> _Opened:
        encoder = open_encoder(self._store, live.model_version, self._device, engine=self._engine)
        return _Opened(live, self._open_index(live), encoder)


def _place(live: LivePointer) -> tuple[str, str, str]:
    return live.backend, live.index, live.namespace
