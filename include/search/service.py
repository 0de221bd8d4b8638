"""The search service: a query in a listener's words, the best episodes of the live index."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from include.episodes import snapshot
from include.index.contract import EpisodeIndex, Filter, Hit, Metadata
from include.index.fusion import DEPTH, Place, together
from include.index.live import LivePointer, require_live
from include.retriever.encoders.opening import open_encoder
from include.search.encoding import Encoded, QueryEncoder
from include.search.flights import Flights
from include.search.reranking import DEPTH as RERANKED
from include.search.reranking import Reranker, episode_text
from include.search.vocabulary import Vocabularies, Vocabulary
from include.storage import ArtifactStore

MAX_QUERY_CHARS = 1_000
MAX_RESULTS = DEPTH
"""Maximum number of results: deeper ones have nothing on the other side to be compared with."""

Mode = Literal["hybrid", "dense", "lexical"]


@dataclass(frozen=True)
class Reranked:
    """What a cross-encoder made of a result.

    :param score: in its own measure.
    :param before: the result's rank without it, from 1.
    """

    score: float
    before: int


@dataclass(frozen=True)
class Result:
    """One episode that was found.

    :param score: in the mode that was asked for: of both sides together (0 to 1), the cosine, or BM25.
    :param dense: its place among the nearest vectors, within their first :data:`include.index.fusion.DEPTH`.
    :param lexical: its place among the best word matches, likewise.
    :param reranked: what decided its place then; None where no cross-encoder was asked about it.
    """

    episode_id: str
    score: float
    metadata: Metadata
    dense: Place | None
    lexical: Place | None
    reranked: Reranked | None = None


@dataclass(frozen=True)
class Answer:
    """The results of one query, best first, and what was live at the time."""

    live: LivePointer
    results: list[Result]


@dataclass(frozen=True)
class Similar(Answer):
    """The episodes nearest to one episode, and that one's metadata."""

    metadata: Metadata


class UnknownEpisodeError(LookupError):
    """The live index has no episode with that id."""

    def __init__(self, episode_id: str) -> None:
        super().__init__(f"The live index has no episode {episode_id!r}.")


@dataclass(frozen=True)
class _Opened:
    """What is live, its index, and the encoder for its queries: all from one pointer."""

    live: LivePointer
    index: EpisodeIndex
    encoder: QueryEncoder
    manifest: snapshot.Manifest
    """Of the snapshot that is live."""


class SearchService:
    """Answers queries from what is live: every query reads the pointer, and so follows it at once, even to another
    backend.

    What was live before is kept when namespaces are dropped, so that a query that has read the pointer is answered,
    whatever goes live meanwhile. Several threads can share a service: while one opens another model, which takes
    seconds, the others answer from what was live before; the same question, asked by several at the same time, is
    answered once.

    :param open_index: opens the index that a pointer names.
    :param weight: of meaning relative to words in hybrid answers; see :func:`include.index.fusion.fuse`.
    :param per_show: results of one show that an answer has, at most, unless one show is asked for; 0: any number.
    :param reranker: puts the first results of hybrid answers in another order; None leaves them as they are.
    :raises NothingLiveError: nothing is live yet.
    """

    def __init__(
        self,
        store: ArtifactStore,
        open_index: Callable[[LivePointer], EpisodeIndex],
        *,
        weight: float,
        per_show: int = 0,
        reranker: Reranker | None = None,
    ) -> None:
        self._store = store
        self._open_index = open_index
        self._weight = weight
        self._per_show = per_show
        self._reranker = reranker
        self._opening = threading.Lock()
        self._flights: Flights[Answer] = Flights()
        self._vocabularies = Vocabularies(store)
        self.encoded = Encoded()
        self.changes = 0
        """How often something else went live since it was opened."""
        live = require_live(store)
        self._opened = self._open(live, self._encoder(live))

    def search(self, query: str, k: int = 10, filter: Filter | None = None, *, mode: Mode = "hybrid") -> list[Result]:
        """The k best episodes, best first.

        :raises ValueError: the query is empty, or ``k`` is not from 1 to :data:`MAX_RESULTS`.
        """
        return self.answer(query, k, filter, mode=mode).results

    def search_many(self, queries: Sequence[str], k: int = 10) -> list[list[Result]]:
        """The answers to several queries, encoded and searched together, all from what was live at one moment.

        :raises ValueError: as :meth:`search`.
        """
        _check_k(k)
        texts = _texts(queries)
        answers = self._answers(self._live(), texts, k, None, "hybrid", None) if texts else []
        return [answer.results for answer in answers]

    def answer(
        self,
        query: str,
        k: int = 10,
        filter: Filter | None = None,
        *,
        mode: Mode = "hybrid",
        per_show: int | None = None,
    ) -> Answer:
        """The k best episodes, and what they came from.

        :param per_show: results of one show, at most, as the service has it (default: its own).
        :raises ValueError: as :meth:`search`.
        """
        _check_k(k)
        (text,), opened = _texts([query]), self._live()
        name = (opened.live.entry, text, k, frozenset((filter or {}).items()), mode, per_show)
        return self._flights.run(name, lambda: self._answers(opened, [text], k, filter, mode, per_show)[0])

    def _answers(
        self, opened: _Opened, texts: Sequence[str], k: int, filter: Filter | None, mode: Mode, per_show: int | None
    ) -> list[Answer]:
        dense, lexical = _ask(opened, texts, filter, mode)
        weight = {"dense": 1.0, "lexical": 0.0, "hybrid": self._weight}[mode]
        most = self._per_show if per_show is None else per_show
        most = 0 if {"podcast_id", "show_title"} & (filter or {}).keys() else most
        answers = []
        for text, near, said in zip(texts, dense, lexical, strict=True):
            results = _together(text, near, said, weight, mode, opened.manifest.episodes)
            if self._reranker and mode == "hybrid":
                results = _reranked(self._reranker, text, results)
            answers.append(Answer(opened.live, _some_a_show(results, most)[:k]))
        return answers

    def live(self) -> LivePointer:
        """What is live now, opened."""
        return self._live().live

    def seen(self) -> tuple[LivePointer, snapshot.Manifest]:
        """What was live when somebody last asked, and its snapshot's manifest: nothing is read for it."""
        opened = self._opened
        return opened.live, opened.manifest

    def fetch(self, ids: Sequence[str]) -> tuple[LivePointer, dict[str, Metadata]]:
        """What is live, and what it has on some episodes; unknown ids are left out."""
        opened = self._live()
        stored = opened.index.fetch(opened.live.namespace, ids)
        return opened.live, {key: stored[key].metadata for key in ids if key in stored}

    def similar(self, episode_id: str, k: int = 10, filter: Filter | None = None) -> Similar:
        """The k other episodes whose vectors are nearest to an episode's own, best first.

        :raises UnknownEpisodeError: there is no such episode.
        :raises ValueError: ``k`` is not from 1 to :data:`MAX_RESULTS`.
        """
        _check_k(k)
        opened = self._live()
        stored = opened.index.fetch(opened.live.namespace, [episode_id]).get(episode_id)
        if stored is None:
            raise UnknownEpisodeError(episode_id)
        (hits,) = opened.index.search_vectors(opened.live.namespace, stored.values[None], k + 1, filter)
        others = [hit for hit in hits if hit.episode_id != episode_id][:k]
        results = [
            Result(hit.episode_id, hit.score, hit.metadata, Place(rank, hit.score), None)
            for rank, hit in enumerate(others, start=1)
        ]
        return Similar(opened.live, results, stored.metadata)

    def vocabulary(self) -> Vocabulary:
        """The titles of what is live; see :class:`include.search.vocabulary.Vocabularies`."""
        return self._vocabularies.of(self._live().live.snapshot_id)

    def largest_shows(self, most: int) -> list[str]:
        """Titles of the shows with the most episodes; none while they are read for the first time."""
        vocabulary = self._vocabularies.at_hand(self._live().live.snapshot_id)
        return [one.text for one in islice(vocabulary.shows, most)] if vocabulary else []

    def meant(self, query: str) -> str | None:
        """A correction of a query with words that the live index does not have; None if it has them all, or while
        titles are read for the first time."""
        opened = self._live()

        def known(word: str) -> bool:
            return bool(opened.index.search_words(opened.live.namespace, [word], 1)[0])

        vocabulary = self._vocabularies.at_hand(opened.live.snapshot_id)
        return vocabulary.meant(query, known) if vocabulary else None

    def _live(self) -> _Opened:
        """What is live now, opened if it is new, unless another query is already doing so."""
        if self._opened.live != require_live(self._store) and self._opening.acquire(blocking=False):
            try:
                live, before = require_live(self._store), self._opened.live.entry
                if _place(self._opened.live) != _place(live):
                    same = self._opened.live.model_version == live.model_version
                    self._opened = self._open(live, self._opened.encoder if same else self._encoder(live))
                elif self._opened.live != live:
                    manifest = snapshot.load(self._store, live.snapshot_id)
                    self._opened = replace(self._opened, live=live, manifest=manifest)
                self.changes += before != self._opened.live.entry
            finally:
                self._opening.release()
        return self._opened

    def _open(self, live: LivePointer, encoder: QueryEncoder) -> _Opened:
        manifest = snapshot.load(self._store, live.snapshot_id)
        return _Opened(live, self._open_index(live), encoder, manifest)

    def _encoder(self, live: LivePointer) -> QueryEncoder:
        encoder = open_encoder(self._store, live.model_version, "cpu")
        return QueryEncoder(encoder, self.encoded)


def _texts(queries: Sequence[str]) -> list[str]:
    """Queries as they are asked.

    :raises ValueError: one of them is empty.
    """
    # A terminal's bytes that are no UTF-8 arrive as lone surrogates, which no tokenizer takes.
    texts = [" ".join(query.encode("utf-8", "replace").decode().split())[:MAX_QUERY_CHARS] for query in queries]
    if not all(texts):
        raise ValueError('Say what you are looking for, e.g. make search Q="eat better during the holidays".')
    return texts


def _ask(
    opened: _Opened, texts: Sequence[str], filter: Filter | None, mode: Mode
) -> tuple[list[list[Hit]], list[list[Hit]]]:
    """The first :data:`DEPTH` of each side for each query; nothing from a side that is not used."""
    index, namespace = opened.index, opened.live.namespace
    near: list[list[Hit]] = [[] for _ in texts]
    with ThreadPoolExecutor(1, thread_name_prefix="words") as pool:
        words = pool.submit(index.search_words, namespace, texts, DEPTH, filter) if mode != "dense" else None
        if mode != "lexical":
            near = index.search_vectors(namespace, opened.encoder.encode(texts), DEPTH, filter)
        return near, words.result() if words else [[] for _ in texts]


def _together(
    query: str, dense: Sequence[Hit], lexical: Sequence[Hit], weight: float, mode: Mode, episodes: int
) -> list[Result]:
    metadata = {hit.episode_id: hit.metadata for hit in (*lexical, *dense)}
    near, said = _scored(dense), _scored(lexical)
    fused = together(query, near, said, weight=weight, episodes=episodes)
    return [
        Result(
            one.episode_id,
            one.score if mode == "hybrid" else _own_score(one.dense, one.lexical),
            metadata[one.episode_id],
            one.dense,
            one.lexical,
        )
        for one in fused
    ]


def _reranked(reranker: Reranker, query: str, results: list[Result]) -> list[Result]:
    """The first results by what the cross-encoder says of them, equal ones as they were; then the others.

    It is always asked about as many, however many are wanted: so that each page goes on where the one before ends.
    """
    first, others = results[:RERANKED], results[RERANKED:]
    scores = reranker.scores(query, [episode_text(one.metadata) for one in first])
    order = sorted(range(len(first)), key=lambda row: -scores[row])
    return [replace(first[row], reranked=Reranked(scores[row], row + 1)) for row in order] + others


def _some_a_show(results: list[Result], most: int) -> list[Result]:
    """The results, leaving out those of a show that already has that many above."""
    if not most:
        return results
    seen: Counter[str] = Counter()
    kept = []
    for result in results:
        seen[result.metadata.podcast_id] += 1
        if seen[result.metadata.podcast_id] <= most:
            kept.append(result)
    return kept


def _scored(hits: Sequence[Hit]) -> list[tuple[str, float]]:
    return [(hit.episode_id, hit.score) for hit in hits]


def _own_score(*places: Place | None) -> float:
    return next(place.score for place in places if place)


def _check_k(k: int) -> None:
    if not 1 <= k <= MAX_RESULTS:
        raise ValueError(f"Ask for at least one result and at most {MAX_RESULTS:,}, not {k:,}.")


def _place(live: LivePointer) -> tuple[str, str, str]:
    return live.backend, live.index, live.namespace
