"""Making training pairs of the queries that were written and of those that people have typed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from include.episodes import snapshot
from include.episodes.described import without_description
from include.queries.contract import Passage, Query
from include.queries.filtering import Dropped, filter_queries
from include.queries.logs import LoggedQuery, load_logs
from include.queries.roundtrip import Catalogue, round_trip
from include.queries.samples import QuerySample, draw_samples
from include.retriever.encode import COLUMNS, embed
from include.retriever.encoders.contract import Encoder
from include.retriever.pairs import as_pairs, build_pairs, count_by
from include.retriever.training.plan import FOLDER, HELD_OUT_FILE, LOGS_FILE, RECORDED_FILE, TrainingPlan
from include.retriever.training.queries import PASSAGE_COLUMNS, read_queries
from include.storage import ArtifactStore

log = logging.getLogger(__name__)

PAIRS_FILE = "pairs.parquet"
KEPT_FILE = "pairs-kept.parquet"
"""What the round trip leaves of the pairs."""
SUMMARY_FILE = "pairs.json"
CATALOGUE = 20_000
"""Episodes that the round trip searches, those of the pairs among them."""


class PairsSummary(BaseModel):
    """What became of the queries."""

    episodes: int
    """Episodes that queries were written for."""
    written: int
    """Queries that the generator wrote."""
    pairs: int
    by_split: dict[str, int]
    by_origin: dict[str, int]
    dropped: dict[str, int]
    """Written queries that were not used, by reason."""
    logs_unused: dict[str, int] = {}
    """Rows of the search logs that were not used, by reason."""
    round_trip: dict[str, int] | None = None
    """How many training queries were asked of the base model and how many of them dropped; None if it was not made."""
    samples: list[QuerySample] = []


def write_pairs(
    store: ArtifactStore, plan: TrainingPlan, *, curated: Mapping[str, Collection[str]], english_only: bool = False
) -> PairsSummary:
    """Filter the queries of all shards, split them by episode, and write the pairs.

    :param curated: the queries that people wrote to measure with, and the ids of the episodes that answer each: the
        queries are never trained on, and the episodes are only tested on. Queries of plays that are held out are not
        trained on either; their episodes are.
    :param english_only: the generator knows no other language.
    """
    passages: list[Passage] = []
    queries: list[list[Query]] = []
    for passage, own in read_queries(store, plan):
        passages.append(passage)
        queries.append(own)
    written, episodes = sum(map(len, queries)), len(passages)
    apart = {*curated, *(query.text for own in held_out(store, plan.training_id).values() for query in own)}
    kept, dropped = filter_queries(queries, passages, english_only=english_only, curated=apart)
    logs, logs_unused = _logs(store, plan, apart)
    played = _other_passages(store, plan, logs, {passage.episode_id for passage in passages})
    pairs = build_pairs(
        [*passages, *played],
        [*kept, *([] for _ in played)],
        train_share=plan.recipe.train_share,
        eval_share=plan.recipe.eval_share,
        held_out={key for ids in curated.values() for key in ids},
        logs=logs,
    )
    store.write_table(pairs, FOLDER, plan.training_id, PAIRS_FILE)
    summary = PairsSummary(
        episodes=episodes,
        written=written,
        pairs=len(pairs),
        by_split=count_by(pairs, "split"),
        by_origin=count_by(pairs, "origin"),
        dropped=dict(dropped),
        logs_unused=logs_unused,
        samples=draw_samples(passages, kept, seed=plan.recipe.seed),
    )
    _write_summary(store, plan, summary)
    log.info("%d pairs %s; dropped %s.", summary.pairs, summary.by_split, summary.dropped)
    return summary


def read_pairs(store: ArtifactStore, training_id: str) -> pa.Table:
    """All pairs of a training, in the shape of :data:`include.retriever.pairs.PAIRS`."""
    return as_pairs(store.read_table(FOLDER, training_id, PAIRS_FILE))


def held_out(
    store: ArtifactStore, training_id: str, known: Collection[str] | None = None
) -> dict[str, list[LoggedQuery]]:
    """The queries of plays that a training measures with, by episode; none where nothing was recorded.

    :param known: ids of the episodes that are asked for; None: all.
    """
    if not store.exists(FOLDER, training_id, HELD_OUT_FILE):
        return {}
    with store.local_copy(FOLDER, training_id, HELD_OUT_FILE) as file:
        return load_logs([file], known, curated=()).by_episode


def read_training_pairs(store: ArtifactStore, plan: TrainingPlan) -> pa.Table:
    """The pairs that a model is trained and measured on while it is trained."""
    if not plan.recipe.round_trip:
        return read_pairs(store, plan.training_id)
    return as_pairs(store.read_table(FOLDER, plan.training_id, KEPT_FILE))


def read_summary(store: ArtifactStore, training_id: str) -> PairsSummary:
    return PairsSummary.model_validate(store.read_json(FOLDER, training_id, SUMMARY_FILE))


def make_round_trip(
    store: ArtifactStore,
    plan: TrainingPlan,
    model: Encoder,
    *,
    model_version: str,
    catalogue_size: int = CATALOGUE,
) -> dict[str, int]:
    """Leave out the training queries whose episode the base model does not find; the rest is trained on.

    :param model_version: names the base model's vectors, which are kept for indexing and evaluation.
    :param catalogue_size: so many episodes are searched, those of the pairs among them.
    :returns: how many queries were ``asked``, and how many of them ``dropped``.
    """
    pairs = read_pairs(store, plan.training_id)
    needed = set(pairs["episode_id"].to_pylist())
    shards = _searched_parts(store, plan, needed, catalogue_size)
    ids, hashes, vectors, _ = embed(store, model_version, model, shards)
    result = round_trip(
        pairs,
        Catalogue(ids, hashes, vectors),
        model.encode,
        k=plan.recipe.round_trip,
        encode_queries=partial(model.encode, kind="query"),
    )
    store.write_table(pairs.filter(pa.array(result.keep)), FOLDER, plan.training_id, KEPT_FILE)
    counts = {"asked": result.asked, "dropped": result.dropped}
    _write_summary(store, plan, read_summary(store, plan.training_id).model_copy(update={"round_trip": counts}))
    return counts


def _searched_parts(
    store: ArtifactStore, plan: TrainingPlan, needed: set[str], size: int
) -> Iterator[tuple[int, pa.Table]]:
    """The needed episodes and, up to a size, others of the catalogue, which are the same in every run; by shard."""
    episodes = snapshot.load(store, plan.snapshot_id).episodes
    share = max(0, size - len(needed)) / max(1, episodes - len(needed))
    for shard, table in snapshot.read_shards(store, plan.snapshot_id, columns=COLUMNS):
        chosen = [key in needed or plan.draws(key, "company") < share for key in table["episode_id"].to_pylist()]
        yield shard, table.filter(pa.array(chosen, pa.bool_()))


def _logs(
    store: ArtifactStore, plan: TrainingPlan, curated: Collection[str]
) -> tuple[dict[str, list[LoggedQuery]], dict[str, int]]:
    """The logged queries by episode, and how many rows were not used by reason.

    :param curated: queries that are measured with.
    """
    given = {LOGS_FILE: plan.search_logs, RECORDED_FILE: plan.recorded}
    names = [name for name, content in given.items() if content is not None]
    if not names:
        return {}, {}
    known = snapshot.read(store, plan.snapshot_id, columns=["episode_id"])["episode_id"].to_pylist()
    undescribed = without_description(store, plan.snapshot_id)
    with ExitStack() as copies:
        files = [copies.enter_context(store.local_copy(FOLDER, plan.training_id, name)) for name in names]
        logs = load_logs(files, set(known), curated=curated, without_description=undescribed)
    unused = {
        "unknown_episode": logs.unknown,
        "without_description": logs.without_description,
        str(Dropped.CURATED): logs.curated,
    }
    log.info("Search logs: queries of %d episodes; rows that were not used: %s.", len(logs.by_episode), unused)
    return logs.by_episode, unused


def _other_passages(
    store: ArtifactStore, plan: TrainingPlan, logs: Mapping[str, Sequence[LoggedQuery]], sampled: Collection[str]
) -> list[Passage]:
    """The episodes with logged queries that no query was written for."""
    wanted = [key for key in logs if key not in sampled]
    if not wanted:
        return []
    table = snapshot.read(store, plan.snapshot_id, columns=PASSAGE_COLUMNS)
    table = table.filter(pc.is_in(table["episode_id"], value_set=pa.array(wanted)))
    return [Passage(**row) for row in table.to_pylist()]


def _write_summary(store: ArtifactStore, plan: TrainingPlan, summary: PairsSummary) -> None:
    store.write_json(summary.model_dump(), FOLDER, plan.training_id, SUMMARY_FILE)
