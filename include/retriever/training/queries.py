"""Writing the queries of a training, a shard at a time, so that a killed task loses a few batches at most."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import pyarrow as pa

from include.episodes import snapshot
from include.episodes.described import described
from include.queries.contract import Passage, Query, QueryGenerator
from include.retriever.training.plan import FOLDER, QueryShard, TrainingPlan
from include.storage import ArtifactStore, digest

log = logging.getLogger(__name__)

QUERIES = pa.schema([(name, pa.string()) for name in ("episode_id", "query", "origin", "positive")])
PASSAGE_COLUMNS = ["episode_id", "title", "description", "show_title", "show_description", "language"]


def queries_written(store: ArtifactStore, plan: TrainingPlan, number: int) -> int | None:
    """How many queries a finished shard has; None if it is not finished.

    :param number: its place in the plan.
    """
    target = _file(plan, number)
    return len(store.read_table(*target, columns=["query"])) if store.exists(*target) else None


def generate_queries(store: ArtifactStore, plan: TrainingPlan, number: int, generator: QueryGenerator) -> int:
    """Write the queries of a shard's sampled episodes; how many. What is written already is not written again.

    :param number: the shard's place in the plan.
    """
    target = _file(plan, number)
    passages = shard_passages(store, plan, plan.query_shards[number])
    # Texts of like length stand together, which is what generators like; the order does not depend on the run.
    ordered = sorted(passages, key=lambda passage: (len(passage.text()), passage.episode_id))
    tables = [QUERIES.empty_table()]
    written = 0
    for chunk in _chunks(ordered, generator.chunk):
        tables.append(_chunk(store, plan, target, chunk, generator))
        written += len(chunk)
        if len(chunk) < len(ordered):
            log.info("%s: %d of %d episodes.", plan.query_shards[number].name, written, len(ordered))
    queries = pa.concat_tables(tables)
    store.write_table(queries, *target)
    store.remove(*_unfinished(target))
    log.info("%s: %d queries for %d episodes.", plan.query_shards[number].name, len(queries), len(passages))
    return len(queries)


def read_queries(store: ArtifactStore, plan: TrainingPlan) -> Iterator[tuple[Passage, list[Query]]]:
    """Every sampled episode with the queries that were written for it, which may be none, shard by shard.

    :raises FileNotFoundError: a shard is not finished.
    """
    for number, shard in enumerate(plan.query_shards):
        queries: dict[str, list[Query]] = {}
        for row in store.read_table(*_file(plan, number)).to_pylist():
            queries.setdefault(row["episode_id"], []).append(Query(row["query"], row["origin"], row["positive"]))
        for passage in shard_passages(store, plan, shard):
            yield passage, queries.get(passage.episode_id, [])


def shard_passages(store: ArtifactStore, plan: TrainingPlan, shard: QueryShard) -> list[Passage]:
    """The sampled episodes of a shard, by id. Those without a description train nothing."""
    table = described(snapshot.read(store, plan.snapshot_id, columns=PASSAGE_COLUMNS, shards=[shard.shard]))
    sampled = pa.array([plan.samples(key) and shard.holds(key) for key in table["episode_id"].to_pylist()], pa.bool_())
    return [Passage(**row) for row in table.filter(sampled).to_pylist()]


def _chunk(
    store: ArtifactStore,
    plan: TrainingPlan,
    target: tuple[str, ...],
    passages: Sequence[Passage],
    generator: QueryGenerator,
) -> pa.Table:
    """The queries of some passages: those that a killed task has left, or new ones, kept for a task that is killed."""
    file = (*_unfinished(target), f"{digest(*(passage.episode_id for passage in passages))}.parquet")
    if store.exists(*file):
        return store.read_table(*file)
    generated = generator.generate(passages, plan.recipe.queries_per_episode, plan.recipe.seed)
    rows = [
        {"episode_id": passage.episode_id, "query": query.text, "origin": query.origin, "positive": query.positive}
        for passage, own in zip(passages, generated, strict=True)
        for query in own
    ]
    table = pa.Table.from_pylist(rows, schema=QUERIES)
    store.write_table(table, *file)
    return table


def _chunks(passages: Sequence[Passage], size: int | None) -> Iterator[Sequence[Passage]]:
    size = size or max(len(passages), 1)
    for start in range(0, len(passages), size):
        yield passages[start : start + size]


def _file(plan: TrainingPlan, number: int) -> tuple[str, ...]:
    return FOLDER, plan.training_id, "queries", f"{plan.query_shards[number].name}.parquet"


def _unfinished(target: tuple[str, ...]) -> tuple[str, ...]:
    """The folder of a shard's chunks until the shard is whole."""
    return (*target[:-1], "unfinished", target[-1].removesuffix(".parquet"))
