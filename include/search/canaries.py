"""Canaries: questions with known answers. If search no longer answers one, something is wrong with it.

New ones are chosen when another snapshot or model goes live: curated queries and, if there are too few, titles of
episodes, as long as the episode is among the first :data:`SURE` results. From then on it must stay among the first
:data:`K`. What goes live was measured and verified and may answer a question worse, but it does not lose more than half
of the previous canaries.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from include.episodes import snapshot
from include.index.live import LivePointer
from include.search.service import Result
from include.storage import ArtifactStore

log = logging.getLogger(__name__)

FILE = ("search", "canaries.json")
CANARIES = 10
CURATED = 40
TITLES = 40
"""The most questions that canaries are chosen from."""
TITLE_CHARS = 12
"""A shorter title is often another episode's, too."""
SURE = 10
K = 30

Ask = Callable[[Sequence[str], int], list[list[Result]]]
"""Queries and k to the best episodes of each: :meth:`include.search.service.SearchService.search_many`."""


class Canary(BaseModel):
    """A question, and the episodes that answer it."""

    query: str
    episode_ids: list[str]
    rank: int | None = None
    """The rank of the first of them when it was chosen, from 1."""
    score: float | None = None
    """Its cosine then; None if meaning did not find it."""


class _Kept(BaseModel):
    """The canaries of what is live."""

    namespace: str
    snapshot_id: str
    canaries: list[Canary]

    def are_of(self, live: LivePointer) -> bool:
        return (self.namespace, self.snapshot_id) == (live.namespace, live.snapshot_id)


class Checked(NamedTuple):
    """How many canaries were asked, those that were not answered, and the cosines of those that were."""

    asked: int
    lost: list[Canary]
    scores: Sequence[float] = ()


class OneByOne:
    """Asks one question after the other, as people do, and notes how long each took."""

    def __init__(self, search: Callable[[str, int], list[Result]]) -> None:
        self._search = search
        self.seconds: list[float] = []

    def __call__(self, queries: Sequence[str], k: int) -> list[list[Result]]:
        answers = []
        for query in queries:
            begun = time.perf_counter()
            answers.append(self._search(query, k))
            self.seconds.append(time.perf_counter() - begun)
        return answers


def check(store: ArtifactStore, live: LivePointer, ask: Ask, curated: Mapping[str, Sequence[str]]) -> Checked:
    """Ask the canaries, and choose new ones if another snapshot or model has gone live since they were chosen.

    :param ask: search as users have it.
    :param curated: curated queries, each with the ids of the episodes that answer it.
    """
    kept = _read(store)
    if kept and kept.are_of(live):
        now = _ranked(ask, kept.canaries)
        lost = _lost(kept.canaries, now)
        there = _not_withdrawn(store, live, lost)
        return Checked(len(kept.canaries) - len(lost) + len(there), there, _scores(now))
    episodes = snapshot.read(store, live.snapshot_id, columns=["episode_id", "title"])
    before = _answerable(kept.canaries if kept else [], episodes)
    now = _ranked(ask, before)
    if (lost := _lost(before, now)) and 2 * len(lost) > len(before):
        return Checked(len(before), lost, _scores(now))
    questions = [Canary(query=query, episode_ids=list(ids)) for query, ids in curated.items()]
    questions = [*_answerable(questions, episodes)[:CURATED], *_titles(episodes)]
    found = [item for item in _ranked(ask, questions) if item.rank is not None and item.rank <= SURE][:CANARIES]
    if not found:
        return Checked(len(questions), questions)
    chosen = _Kept(namespace=live.namespace, snapshot_id=live.snapshot_id, canaries=found)
    store.write_json(chosen.model_dump(mode="json"), *FILE)
    return Checked(len(found), [], _scores(found))


def _read(store: ArtifactStore) -> _Kept | None:
    try:
        found = store.read_json_if_there(*FILE)
        return None if found is None else _Kept.model_validate(found)
    except ValueError:
        log.warning("%s is damaged: new canaries are chosen.", "/".join(FILE))
        return None


def _lost(canaries: Sequence[Canary], now: Sequence[Canary]) -> list[Canary]:
    """The canaries that are not answered, as they were chosen."""
    return [old for old, new in zip(canaries, now, strict=True) if new.rank is None]


def _scores(canaries: Sequence[Canary]) -> list[float]:
    return [item.score for item in canaries if item.score is not None]


def _not_withdrawn(store: ArtifactStore, live: LivePointer, canaries: list[Canary]) -> list[Canary]:
    """Those whose episodes are still published: a re-index deletes the others before the snapshot goes live."""
    latest = snapshot.latest(store)
    if not canaries or latest is None or latest.snapshot_id == live.snapshot_id:
        return canaries
    published = snapshot.read(store, latest.snapshot_id, columns=["episode_id"])
    left = {item.query for item in _answerable(canaries, published)}
    return [item for item in canaries if item.query in left]


def _ranked(ask: Ask, canaries: Sequence[Canary]) -> list[Canary]:
    """The canaries with rank and score that the first right episode has now, None if it is not among :data:`K`."""
    answers = ask([item.query for item in canaries], K) if canaries else []
    return [
        item.model_copy(update=_place(hits, item.episode_ids)) for item, hits in zip(canaries, answers, strict=True)
    ]


def _place(hits: Sequence[Result], right: Sequence[str]) -> dict[str, float | None]:
    for rank, hit in enumerate(hits, start=1):
        if hit.episode_id in right:
            return {"rank": rank, "score": hit.dense.score if hit.dense else None}
    return {"rank": None, "score": None}


def _answerable(canaries: Sequence[Canary], episodes: pa.Table) -> list[Canary]:
    """The questions that a snapshot has an answer to, with only these answers."""
    named = pa.array(sorted({key for item in canaries for key in item.episode_ids}), pa.string())
    there = set(named.filter(pc.is_in(named, value_set=episodes["episode_id"].combine_chunks())).to_pylist())
    left = [
        item.model_copy(update={"episode_ids": [key for key in item.episode_ids if key in there]}) for item in canaries
    ]
    return [item for item in left if item.episode_ids]


def _titles(episodes: pa.Table) -> list[Canary]:
    """Titles that only one episode has, taken from all over the snapshot."""
    counts = pc.value_counts(episodes["title"])
    own = counts.field("values").filter(pc.equal(counts.field("counts"), 1))
    table = episodes.filter(pc.is_in(episodes["title"], value_set=own))
    long = table.filter(pc.greater_equal(pc.utf8_length(table["title"]), TITLE_CHARS))
    table = long if len(long) >= TITLES else table
    places = {place * len(table) // TITLES for place in range(TITLES)} if len(table) else set()
    rows = pa.array(sorted(places), pa.int64())
    return [Canary(query=row["title"], episode_ids=[row["episode_id"]]) for row in table.take(rows).to_pylist()]
