"""Evaluating models on one fixed set of queries and one fixed catalogue, encoding each text once per model."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from include.episodes import snapshot
from include.episodes.described import without_description
from include.episodes.schema import content_hash
from include.evaluation.known_items import known_items
from include.evaluation.metrics import ModelEvaluation, evaluate
from include.evaluation.queries import QuerySet, QuerySetName, load_curated
from include.evaluation.words import rank_words, read_ranked
from include.index.fusion import Scored
from include.queries.filtering import query_key
from include.queries.logs import LoggedQuery
from include.retriever.encode import COLUMNS, Embedded, EmbeddingCache, embed
from include.retriever.encoders.contract import Encoder, Vectors
from include.retriever.training.pairing import held_out, read_pairs
from include.storage import MANIFEST, ArtifactStore, digest

log = logging.getLogger(__name__)

FOLDER = "evaluations"
KNOWN_ITEMS = 150
QUERIES_FILE = "queries.parquet"
WORDS_FILE = "words.parquet"
DENSE = "-dense"
"""Ends the name of what vectors alone find."""


class EvaluationPlan(BaseModel):
    """What all models of one comparison are measured on."""

    evaluation_id: str
    snapshot_id: str
    training_id: str | None
    catalogue: int
    test_queries: int
    curated_queries: int
    curated_left_out: int
    seed: int
    hybrid_weight: float = 1.0
    """Of the vectors beside the words; 1 in evaluations of earlier releases, which measured vectors alone."""


def plan_evaluation(
    store: ArtifactStore,
    *,
    snapshot_id: str,
    training_id: str | None,
    curated_path: Path | None,
    catalogue_size: int,
    max_queries: int,
    seed: int,
    hybrid_weight: float,
) -> EvaluationPlan:
    """Choose the queries and the catalogue, and search it by words alone.

    The catalogue holds every episode that answers a query, filled up with a seeded sample of the others.

    :param training_id: the training whose test split is asked; None before the first.
    :param hybrid_weight: of the vectors beside the words; see :func:`include.index.fusion.fuse`.
    """
    curated_bytes = curated_path.read_bytes() if curated_path else b""
    evaluation_id = digest(
        snapshot_id,
        training_id or "",
        hashlib.sha256(curated_bytes).hexdigest(),
        *map(str, (catalogue_size, max_queries, seed, hybrid_weight)),
    )
    if planned := store.read_json_if_there(FOLDER, evaluation_id, MANIFEST):
        return EvaluationPlan.model_validate(planned)

    titles = snapshot.read(store, snapshot_id, columns=["episode_id", "title", "show_title"])
    known = titles["episode_id"].to_pylist()
    sets: list[QuerySet] = []
    left_out = 0
    if curated_path:
        sets_curated = load_curated(curated_path, set(known))
        left_out = sets_curated.left_out
        sets.append(sets_curated.query_set)
    if training_id:
        described = set(known) - without_description(store, snapshot_id)
        sets.append(_test_queries(store, training_id, described, max_queries, seed))
        sets.append(_played_queries(store, training_id, set(known), max_queries, seed))
    sets.append(known_items(titles, KNOWN_ITEMS, seed=seed))
    sets = [query_set for query_set in sets if len(query_set)]
    answers = {key for query_set in sets for ids in query_set.relevant for key in ids}
    others = sorted(set(known) - answers, key=lambda key: _draw(seed, key))
    chosen = sorted(answers.union(others[: max(0, catalogue_size - len(answers))]))
    plan = EvaluationPlan(
        evaluation_id=evaluation_id,
        snapshot_id=snapshot_id,
        training_id=training_id,
        catalogue=len(chosen),
        test_queries=sum(len(query_set) for query_set in sets if query_set.name == "test"),
        curated_queries=sum(len(query_set) for query_set in sets if query_set.name == "curated"),
        curated_left_out=left_out,
        seed=seed,
        hybrid_weight=hybrid_weight,
    )
    words = rank_words(store, snapshot_id, chosen, sets)
    store.write_table(words, FOLDER, evaluation_id, WORDS_FILE)
    store.write_table(_queries_table(sets), FOLDER, evaluation_id, QUERIES_FILE)
    store.write_table(pa.table({"episode_id": chosen}), FOLDER, evaluation_id, "catalogue.parquet")
    store.write_json(plan.model_dump(), FOLDER, evaluation_id, MANIFEST)
    return plan


def load_evaluation_plan(store: ArtifactStore, evaluation_id: str) -> EvaluationPlan:
    return EvaluationPlan.model_validate(store.read_json(FOLDER, evaluation_id, MANIFEST))


def is_evaluated(store: ArtifactStore, evaluation_id: str, model_version: str) -> bool:
    return store.is_complete(FOLDER, evaluation_id, model_version)


def evaluate_model(store: ArtifactStore, plan: EvaluationPlan, encoder: Encoder, model_version: str) -> int:
    """Measure one model on every query set, by exact search beside words, and keep the results of each query.

    :returns: how many texts no run had embedded with the model before.
    """
    if is_evaluated(store, plan.evaluation_id, model_version):
        return 0
    catalogue = _embed_catalogue(store, plan, encoder, model_version)
    encoded = catalogue.encoded
    words = store.read_table(FOLDER, plan.evaluation_id, WORDS_FILE)
    evaluations = []
    for query_set in read_query_sets(store, plan.evaluation_id):
        positives = None
        if query_set.positives is not None:
            more, positives = _embed_held_out(store, query_set.positives, encoder, model_version)
            encoded += more
        evaluation, results, dense = evaluate(
            query_set,
            model_version=model_version,
            queries=encoder.encode(query_set.queries, kind="query"),
            catalogue=catalogue.vectors,
            ids=catalogue.ids,
            positives=positives,
            lexical=read_ranked(words, query_set),
            weight=plan.hybrid_weight,
            seed=plan.seed,
        )
        store.write_table(results, FOLDER, plan.evaluation_id, model_version, f"{query_set.name}.parquet")
        store.write_table(dense, FOLDER, plan.evaluation_id, model_version, f"{query_set.name}{DENSE}.parquet")
        log.info(
            "%s, %d %s queries: %s.",
            model_version,
            evaluation.queries,
            query_set.name,
            ", ".join(f"{name} {value.mean:.3f}" for name, value in evaluation.metrics.items()),
        )
        evaluations.append(evaluation)
    store.write_json(
        {"evaluations": [evaluation.model_dump() for evaluation in evaluations]},
        FOLDER,
        plan.evaluation_id,
        model_version,
        MANIFEST,
    )
    return encoded


def load_evaluations(store: ArtifactStore, evaluation_id: str, model_version: str) -> list[ModelEvaluation]:
    """The summaries of a model, one per query set."""
    stored = store.read_json(FOLDER, evaluation_id, model_version, MANIFEST)["evaluations"]
    return [ModelEvaluation.model_validate(item) for item in stored]


def load_results(
    store: ArtifactStore, evaluation_id: str, model_version: str, *, dense: bool = False
) -> dict[str, pa.Table]:
    """The per-query results of a model, by query set; if ``dense``, those of its vectors alone."""
    end = DENSE if dense else ""
    return {
        item.query_set: store.read_table(FOLDER, evaluation_id, model_version, f"{item.query_set}{end}.parquet")
        for item in load_evaluations(store, evaluation_id, model_version)
    }


def load_words(store: ArtifactStore, evaluation_id: str, query_set: QuerySet) -> list[Scored]:
    """What the words of each query of a set find."""
    return read_ranked(store.read_table(FOLDER, evaluation_id, WORDS_FILE), query_set)


def read_query_sets(store: ArtifactStore, evaluation_id: str) -> list[QuerySet]:
    """The query sets that were fixed for an evaluation."""
    table = store.read_table(FOLDER, evaluation_id, QUERIES_FILE)
    sets = []
    names: tuple[QuerySetName, ...] = ("test", "known", "played", "curated")
    for name in names:
        own = table.filter(pc.field("query_set") == name).to_pydict()
        if own["query"]:
            positives = own["positive"] if name == "test" else None
            graded = name == "curated" and "judged" in own  # evaluations of earlier releases have no grades
            judged = [dict(grades) for grades in own["judged"]] if graded else None
            sets.append(QuerySet(name, own["query"], own["relevant"], own["origin"], positives, judged))
    return sets


def _test_queries(store: ArtifactStore, training_id: str, described: set[str], limit: int, seed: int) -> QuerySet:
    rows = [
        row
        for row in read_pairs(store, training_id).filter(pc.field("split") == "test").to_pylist()
        if row["episode_id"] in described
    ]
    rows = sorted(rows, key=lambda row: _draw(seed, row["episode_id"] + row["query"]))[:limit]
    return QuerySet(
        "test",
        [row["query"] for row in rows],
        [[row["episode_id"]] for row in rows],
        [row["origin"] for row in rows],
        [row["positive"] for row in rows],
    )


def _played_queries(store: ArtifactStore, training_id: str, known: set[str], limit: int, seed: int) -> QuerySet:
    """What listeners typed on the days that the training held out, and what they played then."""
    answers: dict[str, list[tuple[float, str]]] = {}
    asked: dict[str, LoggedQuery] = {}
    for episode_id, queries in held_out(store, training_id, known).items():
        for query in queries:
            answers.setdefault(query_key(query.text), []).append((-query.weight, episode_id))
            asked.setdefault(query_key(query.text), query)
    chosen = sorted(asked, key=lambda key: _draw(seed, key))[:limit]
    return QuerySet(
        "played",
        [asked[key].text for key in chosen],
        [[episode_id for _, episode_id in sorted(answers[key])] for key in chosen],
        [asked[key].origin for key in chosen],
    )


def _queries_table(sets: Sequence[QuerySet]) -> pa.Table:
    names = ("query", "relevant", "origin", "positive", "judged")
    rows = [
        {"query_set": one.name} | dict(zip(names, values, strict=True))
        for one in sets
        for values in zip(
            one.queries,
            one.relevant,
            one.origins,
            one.positives or [""] * len(one),
            one.judged or [{}] * len(one),
            strict=True,
        )
    ]
    schema = pa.schema(
        [
            ("query_set", pa.string()),
            ("query", pa.string()),
            ("relevant", pa.list_(pa.string())),
            ("origin", pa.string()),
            ("positive", pa.string()),
            ("judged", pa.map_(pa.string(), pa.int8())),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _embed_catalogue(store: ArtifactStore, plan: EvaluationPlan, encoder: Encoder, version: str) -> Embedded:
    wanted = store.read_table(FOLDER, plan.evaluation_id, "catalogue.parquet")["episode_id"].combine_chunks()
    shards = snapshot.read_shards(store, plan.snapshot_id, columns=COLUMNS)
    chosen = ((shard, table.filter(pc.is_in(table["episode_id"], value_set=wanted))) for shard, table in shards)
    return embed(store, version, encoder, chosen)


def _embed_held_out(store: ArtifactStore, texts: Sequence[str], encoder: Encoder, version: str) -> tuple[int, Vectors]:
    """How many texts were not in the cache, and the vectors of all."""
    hashes = list(map(content_hash, texts))
    cache = EmbeddingCache(store, version, "held-out")
    encoded = cache.encode_missing(dict(zip(hashes, texts, strict=True)), encoder)
    return encoded, cache.vectors(hashes)


def _draw(seed: int, key: str) -> bytes:
    """A seeded, stable random order."""
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()
