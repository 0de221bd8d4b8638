"""The embedded backend: LanceDB, one table per namespace.

Vectors are searched exactly up to :data:`EXACT_ROWS` rows, where a scan is fast enough, by IVF_HNSW_SQ up to
:data:`HNSW_ROWS`, and by IVF_SQ above, which is built in a fraction of the time and memory. Words are searched by BM25
in one column that joins all of :data:`SEARCHED`: it found more than the best of four columns, whatever their weights
(benchmarks/RESULTS.md). LanceDB's threads do not survive a fork: open it inside the process that uses it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, timedelta
from typing import Any, cast

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import FTS, BTree, HnswSq, IvfSq
from lancedb.query import MatchQuery

from include.index.contract import (
    SEARCHED,
    TEXT_FILTERS,
    Filter,
    Hit,
    IndexMismatchError,
    Length,
    Metadata,
    NamespaceNotFoundError,
    Period,
    Records,
    Stored,
    Vectors,
    no_filter,
)
from include.index.folding import folded

log = logging.getLogger(__name__)

EXACT_ROWS = 20_000
HNSW_ROWS = 200_000
"""Building the graph takes some 5 KB of memory per row: a gigabyte at this size."""
PARTITION_ROWS = 1_000
LEAST_PROBES = 20
PROBED_SHARE = 1 / 16
"""Share of the partitions that a search probes."""
EF = 256
"""Candidates of an approximate search: measured Recall@30 of 0.99 against exact search at 100k vectors."""
REFINE = 2
KEY = {b"lance-schema:unenforced-primary-key": b"true"}
"""Marks the column by which LanceDB detects conflicting concurrent writes; otherwise both would add their rows for one
id, and one of them could never be removed."""
EXACT, HNSW, IVF = "exact", "IVF_HNSW_SQ", "IVF_SQ"
METADATA = [field.name for field in fields(Metadata)]
WORDS = "words"
TOKENS = FTS(
    base_tokenizer="icu",  # which knows where words end in Chinese, Japanese and Thai, too
    stem=True,  # of English, which gains more than others were seen to lose (benchmarks/RESULTS.md)
    language="English",
    remove_stop_words=False,
    ascii_folding=True,
    lower_case=True,
    with_position=False,
)


class LanceIndex:
    """See :class:`include.index.contract.EpisodeIndex`.

    :param location: a folder or an object-store URL.
    """

    backend = "lancedb"

    def __init__(self, location: str, *, exact_rows: int = EXACT_ROWS, hnsw_rows: int = HNSW_ROWS) -> None:
        self.name = location
        self.exact_rows = exact_rows
        self.hnsw_rows = hnsw_rows
        self._database = lancedb.connect(location)

    def create(self, namespace: str, dimension: int) -> None:
        try:
            table = self._database.open_table(namespace)
        except ValueError:
            # Also mends a table whose creation was killed half-way, which can be listed but not opened.
            table = self._database.create_table(namespace, schema=_schema(dimension), exist_ok=True)
        if _dimension(table) != dimension:
            raise IndexMismatchError(
                f"{namespace} holds vectors of {_dimension(table)} dimensions, not of the model's {dimension}."
            )
        indexed = {column for index in table.list_indices() for column in index.columns}
        if "id" not in indexed:
            table.create_index("id", config=BTree())
        if WORDS not in indexed:
            table.create_index(WORDS, config=TOKENS)

    def upsert(self, namespace: str, batches: Iterable[Records]) -> int:
        table = self._table(namespace)
        dimension = _dimension(table)
        written = 0
        for batch in batches:
            if batch.values.shape != (len(batch.ids), dimension):
                raise IndexMismatchError(
                    f"{namespace} takes {dimension} dimensions; got an array of shape {batch.values.shape}."
                )
            rows = _rows(batch, dimension)
            table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
            written += len(batch.ids)
        return written

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        table = self._table(namespace)
        for start in range(0, len(ids), 500):
            table.delete(f"id IN ({', '.join(_quote(key) for key in ids[start : start + 500])})")

    def search_vectors(self, namespace: str, vectors: Vectors, k: int, filter: Filter | None = None) -> list[list[Hit]]:
        hits: list[list[Hit]] = [[] for _ in vectors]
        table = self._table(namespace)
        where = _where(filter)
        _check_k(k)
        if len(vectors) and vectors.shape[1:] != (_dimension(table),):
            raise IndexMismatchError(
                f"{namespace} holds vectors of {_dimension(table)} dimensions; asked with shape {vectors.shape}."
            )
        rows = table.count_rows()
        if not len(vectors) or not rows or not _has(table, filter):
            return hits
        search = table.search(vectors).distance_type("cosine").limit(k).select([*_columns(table), "_distance"])
        kind = _kind(table)
        if kind == HNSW:
            search = search.ef(max(EF, k * REFINE)).refine_factor(REFINE)
        elif kind == IVF:
            probes = max(LEAST_PROBES, int(rows / PARTITION_ROWS * PROBED_SHARE))
            # And into more of them where a filter leaves too few hits.
            search = search.minimum_nprobes(probes).maximum_nprobes(0).refine_factor(REFINE)
        if where:
            search = search.where(where)
        for row in search.to_arrow().to_pylist():
            hits[row.get("query_index", 0)].append(Hit(row["id"], 1.0 - row["_distance"], _metadata(row)))
        return [_best_first(own) for own in hits]

    def search_words(
        self, namespace: str, queries: Sequence[str], k: int, filter: Filter | None = None
    ) -> list[list[Hit]]:
        table = self._table(namespace)
        where = _where(filter)
        _check_k(k)
        if WORDS not in table.schema.names:
            return [[] for _ in queries]
        columns = [*_columns(table), "_score"]

        def ask(query: str) -> list[Hit]:
            # Not the bare string: in quotation marks it would be a phrase, which the index keeps nothing for.
            words = MatchQuery(folded(query), WORDS)  # type: ignore[call-arg]  # defaults that mypy does not see
            search = table.search(words, query_type="fts").limit(k).select(columns)
            if where:
                search = search.where(where)
            rows = search.to_arrow().to_pylist()
            return _best_first([Hit(row["id"], row["_score"], _metadata(row)) for row in rows])

        return [ask(query) for query in queries]

    def fetch(self, namespace: str, ids: Sequence[str]) -> dict[str, Stored]:
        if not ids:
            return {}
        wanted = f"id IN ({', '.join(_quote(key) for key in ids)})"
        table = self._table(namespace)
        found = table.search().where(wanted).select(["vector", *_columns(table)]).limit(len(ids)).to_arrow()
        return {row["id"]: Stored(np.asarray(row["vector"], np.float32), _metadata(row)) for row in found.to_pylist()}

    def kept(self, metadata: Metadata) -> Metadata:
        published = metadata.published_at
        return replace(metadata, published_at=published.replace(microsecond=0)) if published else metadata

    def count(self, namespace: str) -> int:
        return int(self._table(namespace).count_rows())

    def list_ids(self, namespace: str) -> Iterator[str]:
        table = self._table(namespace)
        ids = table.search().select(["id"]).limit(table.count_rows() or 1).to_arrow()["id"]
        return iter(cast("list[str]", ids.to_pylist()))

    def namespaces(self) -> list[str]:
        names: list[str] = []
        token: str | None = None
        while True:
            page = self._database.list_tables(page_token=token)
            names.extend(page.tables)
            token = page.page_token
            if not token:
                return sorted(names)

    def finish(self, namespace: str) -> None:
        table = self._table(namespace)
        rows = table.count_rows()
        if rows > self.exact_rows and _kind(table) == EXACT:
            log.info("Building an approximate index over %d vectors.", rows)
            graph = HnswSq(distance_type="cosine", num_partitions=1)
            lists = IvfSq(distance_type="cosine", num_partitions=max(1, rows // PARTITION_ROWS))
            table.create_index("vector", config=graph if rows <= self.hnsw_rows else lists)
        # Compacts small files, brings rows written since into the indexes, and drops what no version needs.
        table.optimize(cleanup_older_than=timedelta(days=1))

    def kind(self, namespace: str) -> str:
        return _kind(self._table(namespace))

    def drop(self, namespace: str) -> None:
        if namespace in self.namespaces():
            self._database.drop_table(namespace)

    def _table(self, namespace: str) -> Any:
        try:
            return self._database.open_table(namespace)
        except ValueError as error:
            if namespace in self.namespaces():
                raise
            raise NamespaceNotFoundError(namespace, self.name) from error


def _dimension(table: Any) -> int:
    return int(table.schema.field("vector").type.list_size)


def _kind(table: Any) -> str:
    """How a table is searched."""
    kinds = {"IvfHnswSq": HNSW, "IvfSq": IVF}
    return next((kinds[index.index_type] for index in table.list_indices() if "vector" in index.columns), EXACT)


def _schema(dimension: int) -> pa.Schema:
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False, metadata=KEY),
            pa.field("vector", pa.list_(pa.float32(), dimension), nullable=False),
            pa.field("title", pa.string()),
            pa.field("show_title", pa.string()),
            pa.field("language", pa.string()),
            pa.field("published_at", pa.timestamp("s", tz="UTC")),
            pa.field("content_hash", pa.string()),
            pa.field("model_version", pa.string()),
            pa.field("podcast_id", pa.string()),
            pa.field("description", pa.string()),
            pa.field("categories", pa.string()),
            pa.field("duration_seconds", pa.int32()),
            pa.field("audio_url", pa.string()),
            pa.field(WORDS, pa.string()),
        ]
    )


def _rows(batch: Records, dimension: int) -> pa.Table:
    flat = pa.array(np.ascontiguousarray(batch.values, np.float32).ravel())
    columns = {
        "id": pa.array(batch.ids, pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(flat, dimension),
        **{name: [getattr(item, name) for item in batch.metadata] for name in METADATA},
        WORDS: [folded("\n".join(filter(None, (getattr(item, name) for name in SEARCHED)))) for item in batch.metadata],
    }
    return pa.table(columns, schema=_schema(dimension))


def _columns(table: Any) -> list[str]:
    """Those of a hit, as far as a namespace has them."""
    held = set(table.schema.names)
    return ["id", *(name for name in METADATA if name in held)]


def _metadata(row: dict[str, Any]) -> Metadata:
    published = row.get("published_at")
    values = {name: row[name] for name in METADATA if name in row}
    return Metadata(**values | {"published_at": published.astimezone(UTC) if published else None})


def _best_first(hits: list[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.episode_id))


def _has(table: Any, wanted: Filter | None) -> bool:
    """Whether a namespace has the fields of a filter; one of an earlier format may not."""
    return not set(wanted or ()).difference(table.schema.names)


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError("Ask for at least one result.")


def _where(wanted: Filter | None) -> str:
    return " AND ".join(_condition(name, value) for name, value in (wanted or {}).items())


def _condition(name: str, wanted: str | Period | Length) -> str:
    if name in TEXT_FILTERS and isinstance(wanted, str):
        return f"{name} = {_quote(wanted)}"
    if name == "published_at" and isinstance(wanted, Period):
        moments = ((">=", wanted.since), ("<", wanted.until))
        return " AND ".join(
            f"{name} {sign} timestamp '{moment.astimezone(UTC).isoformat()}'" for sign, moment in moments if moment
        )
    if name == "duration_seconds" and isinstance(wanted, Length):
        bounds = ((">=", wanted.shortest), ("<", wanted.longest))
        return " AND ".join(f"{name} {sign} {int(bound)}" for sign, bound in bounds if bound is not None)
    raise no_filter(name, wanted)


def _quote(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
