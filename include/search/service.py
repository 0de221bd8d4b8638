"""The search service: a query in a listener's words, the best episodes of the live index."""

from __future__ import annotations

from collections.abc import Sequence

from include.index.contract import Filter, Hit, VectorIndex
from include.index.live import LivePointer, require_live
from include.retriever.encoders.opening import Engine, open_encoder
from include.storage import ArtifactStore

MAX_QUERY_CHARS = 1_000


class SearchService:
    """Answers queries from what was live when it was opened.

    :param engine: what encodes queries; ``auto`` takes a second to open and answers sooner then.
    :raises NothingLiveError: nothing is live yet.
    """

    def __init__(
        self, store: ArtifactStore, index: VectorIndex, *, device: str = "cpu", engine: Engine = "auto"
    ) -> None:
        self.live: LivePointer = require_live(store)
        self._index = index
        self._encoder = open_encoder(store, self.live.model_version, device, engine=engine)

    def search(self, query: str, k: int = 10, filter: Filter | None = None) -> list[Hit]:
        """The k best episodes, best first.

        :raises ValueError: the query is empty, or ``k`` is less than 1.
        """
        return self.search_many([query], k, filter)[0]

    def search_many(self, queries: Sequence[str], k: int = 10, filter: Filter | None = None) -> list[list[Hit]]:
        """The answers of several queries, encoded and asked together."""
        # A terminal's bytes that are no UTF-8 arrive as lone surrogates, which no tokenizer takes.
        texts = [" ".join(query.encode("utf-8", "replace").decode().split())[:MAX_QUERY_CHARS] for query in queries]
        if not all(texts):
            raise ValueError('Say what you are looking for, e.g. make search Q="eat better during the holidays".')
        vectors = self._encoder.encode(texts, kind="query")
        return self._index.query(self.live.namespace, vectors, k, filter)
