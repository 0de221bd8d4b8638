"""Re-ranking the first results with a cross-encoder, which reads the query and an episode together.

An episode's vector is made before anybody asks; a cross-encoder sees the query. It is the better judge of the two, but
far too slow for more than the first results.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from include.index.contract import Metadata
from include.retriever.composition import beginning
from include.retriever.registry import ModelError, load_cross_encoder

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

SETTING = "PODSEARCH_RERANKER"
DEPTH = 50
"""How many results are re-ranked; those after them stay where they are."""
BATCH = 10
"""How many texts are read at a time, the longest first: a batch takes as long as its longest text."""
TOKENS = 256
"""Maximum number of tokens of query and episode together; the rest is cut off."""


class Reranker:
    """Scores episodes for a query. Several threads may use it; one scores at a time, because it takes every core."""

    def __init__(self, model: CrossEncoder) -> None:
        self._model = model
        self._turn = threading.Lock()
        model.max_seq_length = min(model.max_seq_length or TOKENS, TOKENS)

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the query, in the model's own measure: more is better."""
        if not texts:
            return []
        from torch.nn import Identity

        with self._turn:
            scores = self._model.predict(
                [(query, text) for text in texts],
                batch_size=BATCH,
                activation_fn=Identity(),  # not a sigmoid, which would make the best scores equal
                show_progress_bar=False,
            )
        return [float(score) for score in scores]


@lru_cache(maxsize=1)
def open_reranker(name: str) -> Reranker:
    """Open a cross-encoder by local folder or hub id; the last one is cached, so that it can be tested before it is
    needed.

    :raises ModelError: it cannot be found or loaded, or gives no score.
    :raises RetryLaterError: the model hub cannot be reached, or failed.
    """
    reranker = Reranker(load_cross_encoder(name, "cpu", setting=SETTING))
    if not np.isfinite(reranker.scores("a query", ["a text"])).all():
        raise ModelError(f"The cross-encoder {name!r} gives scores that are not numbers: set {SETTING} to another.")
    return reranker


def episode_text(episode: Metadata) -> str:
    """The part of an episode that is read: title, show, and the first words of its description, without addresses."""
    return beginning(". ".join(filter(None, (episode.title, episode.show_title, episode.description))))
