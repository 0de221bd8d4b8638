"""The lexical side of an evaluation: what the words of each query find, whatever the model.

The catalogue is searched by the embedded index itself, in a temporary folder, so that words are split and weighted as
in search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.episodes import snapshot
from include.evaluation.queries import QuerySet
from include.index.contract import Metadata, Records
from include.index.fusion import DEPTH, Scored
from include.index.lancedb import LanceIndex
from include.storage import ArtifactStore

NAMESPACE = "words"
BATCH = 5_000
HELD_OUT = "held-out/"
"""Prefix for the ids of stand-ins: an episode's words without those that a query was taken from."""
COLUMNS = ["episode_id", "title", "show_title", "description", "categories", "show_description"]

RANKED = pa.schema(
    [
        pa.field("query_set", pa.string(), nullable=False),
        pa.field("ids", pa.list_(pa.string()), nullable=False),
        pa.field("scores", pa.list_(pa.float64()), nullable=False),
    ]
)
"""The first :data:`DEPTH` episodes of each query, best first, in the order of its set."""


def rank_words(store: ArtifactStore, snapshot_id: str, catalogue: Sequence[str], sets: Sequence[QuerySet]) -> pa.Table:
    """What the words of some queries find in part of a snapshot, in the shape of :data:`RANKED`.

    A query that was taken from an episode finds its stand-in, and not the episode: see
    :class:`include.evaluation.queries.QuerySet`.
    """
    episodes = snapshot.read(store, snapshot_id, columns=COLUMNS)
    wanted = pa.array(catalogue, pa.string())
    return rank_table(episodes.filter(pc.is_in(episodes["episode_id"], value_set=wanted)), sets)


def rank_table(episodes: pa.Table, sets: Sequence[QuerySet]) -> pa.Table:
    """The same of episodes at hand, with :data:`COLUMNS`."""
    with TemporaryDirectory(prefix="podsearch-words-") as folder:
        index = LanceIndex(folder)
        index.create(NAMESPACE, 1)
        index.upsert(NAMESPACE, _records(episodes, sets))
        index.finish(NAMESPACE)
        found = [_ranked(index, one) for one in sets]
    return pa.concat_tables([RANKED.empty_table(), *found])


def read_ranked(table: pa.Table, query_set: QuerySet) -> list[Scored]:
    """Of :func:`rank_words`, the answers of one set's queries."""
    own = table.filter(pc.field("query_set") == query_set.name)
    return [
        list(zip(ids, scores, strict=True))
        for ids, scores in zip(own["ids"].to_pylist(), own["scores"].to_pylist(), strict=True)
    ]


def _records(episodes: pa.Table, sets: Sequence[QuerySet]) -> Iterator[Records]:
    about_show: dict[str, str] = {}
    for start in range(0, len(episodes), BATCH):
        rows = episodes.slice(start, BATCH).to_pylist()
        about_show |= {row["episode_id"]: row["show_description"] or "" for row in rows}
        yield _batch([row["episode_id"] for row in rows], [[row[name] for name in COLUMNS[1:5]] for row in rows])
    for one in sets:
        stand_ins = [
            # Which title and which part of the description is held out, the text alone says; the show's description
            # at its end is none of what is searched.
            ["", "", text.removesuffix(".").removesuffix(about_show.get(relevant[0], "").removesuffix(".")), None]
            for text, relevant in zip(one.positives or [], one.relevant, strict=False)
        ]
        if stand_ins:
            yield _batch([f"{HELD_OUT}{one.name}/{row}" for row in range(len(stand_ins))], stand_ins)


def _batch(ids: list[str], texts: list[list[str | None]]) -> Records:
    metadata = [
        Metadata(
            title=title or "",
            show_title=show_title or "",
            language=None,
            published_at=None,
            content_hash="",
            model_version="",
            description=description,
            categories=categories,
        )
        for title, show_title, description, categories in texts
    ]
    return Records(ids, np.ones((len(ids), 1), np.float32), metadata)


def _ranked(index: LanceIndex, query_set: QuerySet) -> pa.Table:
    answers = [
        _own([(hit.episode_id, hit.score) for hit in hits], query_set, row)
        # Deeper than is kept, for stand-ins of other queries are among them.
        for row, hits in enumerate(index.search_words(NAMESPACE, query_set.queries, 3 * DEPTH))
    ]
    columns = {
        "query_set": [query_set.name] * len(answers),
        "ids": [[key for key, _ in answer] for answer in answers],
        "scores": [[score for _, score in answer] for answer in answers],
    }
    return pa.table(columns, schema=RANKED)


def _own(hits: Scored, query_set: QuerySet, row: int) -> Scored:
    """The answer of one query: its own stand-in goes by the episode's id, which itself is left out."""
    if query_set.positives is None:
        return [(key, score) for key, score in hits if not key.startswith(HELD_OUT)][:DEPTH]
    episode_id, own = query_set.relevant[row][0], f"{HELD_OUT}{query_set.name}/{row}"
    kept = [(episode_id if key == own else key, score) for key, score in hits if key != episode_id]
    return [(key, score) for key, score in kept if not key.startswith(HELD_OUT)][:DEPTH]
