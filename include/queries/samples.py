"""A few of the generated queries, for people to look at: figures do not show that queries are garbled."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

from pydantic import BaseModel

from include.queries.contract import Passage, Query
from include.storage import digest

MAX_CHARS = 200


class QuerySample(BaseModel):
    """A query beside the title of its episode. Text of feeds and models: escape it before showing it."""

    title: str
    query: str
    origin: str


def draw_samples(
    passages: Sequence[Passage], queries: Sequence[Sequence[Query]], *, size: int = 10, seed: int = 0
) -> list[QuerySample]:
    """Draw queries at random (seeded), as many of each origin as of the others, at most one an episode.

    :param queries: those of each passage, in the passages' order.
    """
    by_origin: dict[str, list[tuple[str, Passage, Query]]] = {}
    for passage, own in zip(passages, queries, strict=True):
        for query in own:
            draw = digest(str(seed), passage.episode_id, query.text)
            by_origin.setdefault(query.origin, []).append((draw, passage, query))
    drawn = [sorted(by_origin[origin], key=lambda item: item[0]) for origin in sorted(by_origin)]
    samples: dict[str, QuerySample] = {}
    for item in chain.from_iterable(zip_longest(*drawn)):
        if len(samples) == size:
            break
        if item is not None and item[1].episode_id not in samples:
            _, passage, query = item
            samples[passage.episode_id] = QuerySample(
                title=_cut(passage.title), query=_cut(query.text), origin=query.origin
            )
    return list(samples.values())


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARS else text[:MAX_CHARS] + "…"
