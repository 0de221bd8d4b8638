"""The round trip: train only on queries whose episode the base model finds.

A generated query that is too general, or about something that the text does not say, leads anywhere; it teaches the
model to find what nobody asked for. Promptagator (arXiv 2209.11755) drops the queries whose source is not what a first
retriever finds, which gained 2.5 points of nDCG@10 on average over eleven collections, and lost on the smallest ones: a
setting, for catalogues from about 20,000 episodes on. Only training queries are dropped: a test set of what is found
already would measure nothing. Nor are queries of search logs: listeners did reach those episodes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.episodes.schema import content_hash
from include.queries.logs import is_logged

log = logging.getLogger(__name__)

Vectors = npt.NDArray[np.float32]
Encode = Callable[[list[str]], Vectors]
"""L2-normalised vectors of some texts, shape (n, d), float32."""

BLOCK_QUERIES = 2_048
"""Queries encoded at a time; a log line follows each block."""
BLOCK_SCORES = 2**23
"""Most scores held at once (32 MiB)."""
TIE = 1e-5
"""Cosines this near are equal: more than float32 loses in a dot product, and too little to matter."""


@dataclass(frozen=True)
class Catalogue:
    """The episodes that a query is asked of.

    :param ids: n distinct episode ids, those of all training pairs among them.
    :param hashes: content hash of each episode's text.
    :param vectors: of these texts, L2-normalised, shape (n, d), float32.
    """

    ids: Sequence[str]
    hashes: Sequence[str]
    vectors: Vectors

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.hashes) == len(self.vectors) == len(set(self.ids)):
            raise ValueError(
                f"{len(self.ids)} ids ({len(set(self.ids))} distinct), {len(self.hashes)} hashes and "
                f"{len(self.vectors)} vectors are no catalogue."
            )


@dataclass(frozen=True)
class RoundTrip:
    """What came of it, a value a pair."""

    keep: npt.NDArray[np.bool_]
    """Whether to keep a pair, shape (n,); true for every pair that was not asked."""
    ranks: npt.NDArray[np.int64]
    """Rank from 1 of the pair's episode in the whole catalogue, shape (n,); 0 for a pair that was not asked."""

    @property
    def asked(self) -> int:
        return int(np.count_nonzero(self.ranks))

    @property
    def dropped(self) -> int:
        return int(np.count_nonzero(~self.keep))

    @property
    def kept_share(self) -> float:
        """Share of the asked pairs that are kept; 1 if none was asked."""
        return 1 - self.dropped / self.asked if self.asked else 1.0


def round_trip(
    pairs: pa.Table, catalogue: Catalogue, encode: Encode, *, k: int, encode_queries: Encode | None = None
) -> RoundTrip:
    """Ask each generated query of the train split, by exact search, and keep it if its episode is among the first k.

    As in evaluation, the text that the query must find stands in for its episode, or a title would find itself. An
    episode that scores as much as the right one does not count as before it: a repeated text is equally right. Memory
    is that of the catalogue's vectors and one block.

    :param pairs: in the shape of :data:`include.retriever.pairs.PAIRS`.
    :param encode: the base model.
    :param encode_queries: the same for queries, where it treats them otherwise.
    :raises ValueError: an episode of the pairs is not in the catalogue, or ``k`` is less than 1.
    """
    if k < 1:
        raise ValueError(f"A query cannot be among the first {k}: k must be at least 1.")
    origins, splits = pairs["origin"].to_pylist(), pairs["split"].to_pylist()
    asked = [
        row
        for row, (origin, split) in enumerate(zip(origins, splits, strict=True))
        if split == "train" and not is_logged(origin)
    ]
    texts = pairs.select(["query", "episode_id", "positive"])
    ranks = np.zeros(len(pairs), np.int64)
    place = {episode_id: row for row, episode_id in enumerate(catalogue.ids)}
    for start in range(0, len(asked), BLOCK_QUERIES):
        rows = asked[start : start + BLOCK_QUERIES]
        block = texts.take(rows).to_pydict()
        if unknown := [key for key in block["episode_id"] if key not in place]:
            raise ValueError(f"The episode {unknown[0]} of a pair is not in the catalogue.")
        targets = np.array([place[key] for key in block["episode_id"]], np.int64)
        positives = _positives(block["positive"], targets, catalogue, encode)
        ranks[rows] = _ranks((encode_queries or encode)(block["query"]), targets, positives, catalogue.vectors)
        log.info("Asked %d of %d training queries.", start + len(rows), len(asked))
    result = RoundTrip(keep=(ranks <= k), ranks=ranks)
    log.info(
        "Round trip: the base model finds %d of %d training queries among its first %d (%.1f %%).",
        result.asked - result.dropped,
        result.asked,
        k,
        100 * result.kept_share,
    )
    return result


def _positives(texts: list[str], targets: npt.NDArray[np.int64], catalogue: Catalogue, encode: Encode) -> Vectors:
    """Vectors of the texts that queries must find; what is an episode's whole text has one already."""
    vectors = catalogue.vectors[targets]
    held_out = [row for row, text in enumerate(texts) if content_hash(text) != catalogue.hashes[targets[row]]]
    if held_out:
        distinct = list(dict.fromkeys(texts[row] for row in held_out))
        encoded = dict(zip(distinct, encode(distinct), strict=True))
        vectors[held_out] = np.stack([encoded[texts[row]] for row in held_out])
    return vectors


def _ranks(
    queries: Vectors, targets: npt.NDArray[np.int64], positives: Vectors, catalogue: Vectors
) -> npt.NDArray[np.int64]:
    """How many episodes score higher than the text that is asked for, plus one."""
    wanted = np.einsum("nd,nd->n", queries, positives)
    ranks = np.empty(len(queries), np.int64)
    step = max(1, BLOCK_SCORES // len(catalogue))
    for start in range(0, len(queries), step):
        scores = queries[start : start + step] @ catalogue.T
        rows = np.arange(len(scores))
        scores[rows, targets[start : start + step]] = -np.inf
        ranks[start : start + step] = 1 + np.count_nonzero(scores > wanted[start : start + step, None] + TIE, axis=1)
    return ranks
