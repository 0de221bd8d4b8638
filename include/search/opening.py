"""Opening search as the settings say: in one place, so that every searcher gets the same answers."""

from __future__ import annotations

from typing import Protocol

from include.index import opening
from include.index.contract import EpisodeIndex
from include.index.live import LivePointer
from include.search.reranking import open_reranker
from include.search.service import SearchService
from include.settings import Settings
from include.storage import ArtifactStore


class OpensIndex(Protocol):
    """Opens the index that a pointer names."""

    def __call__(self, settings: Settings, *, live: LivePointer) -> EpisodeIndex: ...


def open_search(
    settings: Settings,
    *,
    per_show: int | None = None,
    reranked: bool = True,
    open_index: OpensIndex = opening.open_index,
) -> SearchService:
    """The search service of an installation.

    :param per_show: results of one show in an answer, at most; 0: any number (default: what the settings say).
    :param reranked: by a cross-encoder, if the settings name one.
    :param open_index: with credentials that are not in the settings, for instance.
    :raises NothingLiveError: nothing is live yet; said before the live model is loaded.
    :raises ModelError: there is something wrong with the cross-encoder.
    """
    reranker = settings.search.reranker if reranked else ""
    return SearchService(
        ArtifactStore(settings.installation.artifacts_root),
        lambda live: open_index(settings, live=live),
        weight=settings.search.hybrid_weight,
        per_show=settings.search.results_per_show if per_show is None else per_show,
        reranker=open_reranker(reranker) if reranker else None,
    )
