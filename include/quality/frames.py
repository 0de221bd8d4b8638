"""The tables that the suites check: what they need to know of each row, and no more.

Great Expectations copies a table once or twice for each column that it checks, and keeps what it found of every row. So
a table is built batch by batch, while the texts stream by, and holds

* the values that a suite looks at, as they are (:data:`KEPT`);
* for a text whose length matters, the length: ``description_chars`` for ``description`` (:data:`MEASURED`);
* instead of any other text :data:`LEFT_OUT`, so that a missing one is still null: one byte per row.

Numbers are floats, with NaN for null: Great Expectations compares these at once, any other type that can hold a null
value by value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import chain
from typing import TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.episodes.times import parse_date, parse_duration
from include.queries.filtering import query_key
from include.queries.logs import is_logged
from include.queries.titles import count_words

MARKUP = r"(?i)</?(p|br|div|span|a|ul|ol|li|b|i|em|strong|script|style|img|h[1-6])(\s[^<>]*)?/?>"
"""HTML that cleaning should have turned into text."""
LEFT_OUT = "(left out)"
"""Stands for a text if a suite only checks that it exists."""
KEPT = ("uuid", "language", "episode_id", "content_hash")
"""Columns whose values a suite looks at, and shows a few of."""
REPEATED = ("language",)
"""Those of them whose values repeat so much that they are stored once, with a number for each row."""
_Value = TypeVar("_Value")

UNREAD_CHARS = 60
"""How much of an unreadable date or length is shown."""
READABLE = "readable"
"""Stands for one that can be read."""
MEASURED = ("title", "description", "text")
"""Columns whose length in characters a suite looks at."""

Facts = dict[str, pa.Array]


def raw_podcasts(podcasts: pa.RecordBatchReader) -> pd.DataFrame:
    """``podcasts.csv`` as read (strings, blank counts as null), with ``title_chars`` and ``description_chars``."""
    return _to_pandas(_collect(podcasts, _raw))


def raw_episodes(episodes: pa.RecordBatchReader, podcast_ids: pa.ChunkedArray) -> pd.DataFrame:
    """``episodes.csv`` as read (strings, blank counts as null), with what the suite needs to know about each row.

    Added: ``title_chars``, ``description_chars``; ``podcast_known``, whether the show is among ``podcast_ids``;
    ``published_year``, null without a date; ``date_as_read`` and ``length_as_read``, :data:`READABLE` or the start of
    what cannot be read, null where there is nothing.

    :param podcast_ids: the column ``uuid`` of ``podcasts.csv``.
    """
    facts = _collect(episodes, _raw_episodes)
    if "podcast_uuid" in facts.column_names:
        shows = facts["podcast_uuid"]
        facts = facts.set_column(facts.column_names.index("podcast_uuid"), "podcast_uuid", _left_out(shows))
        # For the whole column at once, because each call makes a table of all shows to look them up in.
        facts = facts.append_column("podcast_known", pc.is_in(shows, podcast_ids.drop_null()))
    return _to_pandas(facts)


def prepared_episodes(episodes: pa.RecordBatchReader) -> pd.DataFrame:
    """Prepared episodes, with what the suite needs to know about each.

    Added: ``title_chars``, ``description_chars``, ``text_chars``, ``published_year`` and ``has_markup``, whether HTML
    is left in ``text``.
    """
    return _to_pandas(_collect(episodes, _prepared_episodes))


def queries(
    pairs: pa.Table,
    *,
    languages: Mapping[str, str | None],
    episodes: int,
    dropped: int,
    curated: Collection[str] = (),
) -> pd.DataFrame:
    """Training pairs, with what the suite needs to know about each; a blank query counts as null.

    Added: ``language``, that of the episode; ``query_words``; ``one_split``, whether all queries of the episode are in
    the same split; ``curated``, whether the query is one of ``curated``. And figures of the whole table, the same in
    every row: ``dropped``, ``distinct`` and ``covered`` in percent, ``per_episode``. Logged queries count in none of
    them.

    :param pairs: in the shape of :data:`include.retriever.pairs.PAIRS`.
    :param languages: of the pairs' episodes.
    :param episodes: how many episodes queries were written for.
    :param dropped: how many of the written queries the filter has dropped.
    """
    texts, ids = _blank_is_null(pairs["query"].combine_chunks()), pairs["episode_id"].to_pylist()
    keys = [query_key(text or "") for text in texts.to_pylist()]
    written = [row for row, origin in enumerate(pairs["origin"].to_pylist()) if not is_logged(origin)]
    splits = pairs.group_by("episode_id").aggregate([("split", "count_distinct")])
    torn = splits.filter(pc.greater(splits["split_count_distinct"], 1))["episode_id"].combine_chunks()
    refused = set(map(query_key, curated))
    figures = {
        "dropped": 100 * dropped / max(dropped + len(written), 1),
        "covered": 100 * len({ids[row] for row in written}) / max(episodes, 1),
        "per_episode": len(written) / max(episodes, 1),
        "distinct": 100 * len({keys[row] for row in written}) / max(len(written), 1),
    }
    facts: Facts = {
        "episode_id": pairs["episode_id"],
        "query": texts,
        "positive": _left_out(pairs["positive"]),
        "split": pairs["split"].dictionary_encode(),
        "language": pa.array([languages.get(key) for key in ids], pa.string()).dictionary_encode(),
        "query_words": pa.array(
            [float(count_words(text)) if text else None for text in texts.to_pylist()], pa.float64()
        ),
        "one_split": pc.invert(pc.is_in(pairs["episode_id"], value_set=torn)),
        "curated": pa.array([key in refused for key in keys], pa.bool_()),
    }
    return _to_pandas(pa.table(facts | {name: pa.repeat(value, len(pairs)) for name, value in figures.items()}))


def _collect(reader: pa.RecordBatchReader, facts_of: Callable[[pa.RecordBatch], Facts]) -> pa.Table:
    """The facts about all rows of a stream; of a stream without rows, the same columns."""
    nothing = pa.RecordBatch.from_pylist([], schema=reader.schema)
    return pa.concat_tables([pa.table(facts_of(batch)) for batch in chain([nothing], reader)])


def _raw(batch: pa.RecordBatch) -> Facts:
    return _facts({name: _blank_is_null(batch[name]) for name in batch.schema.names})


def _raw_episodes(batch: pa.RecordBatch) -> Facts:
    facts = _raw(batch)
    if "podcast_uuid" in facts:
        facts["podcast_uuid"] = _blank_is_null(batch["podcast_uuid"])
    if "pub_date" in facts:
        dates, facts["date_as_read"] = _as_read(batch["pub_date"], parse_date)
        facts["published_year"] = pa.array([float(date.year) if date else None for date in dates], pa.float64())
    if "audio_length" in facts:
        _, facts["length_as_read"] = _as_read(batch["audio_length"], parse_duration)
    return facts


def _as_read(column: pa.Array, parse: Callable[[str], _Value | None]) -> tuple[list[_Value | None], pa.Array]:
    """The values that a column's texts are read as, and for each text :data:`READABLE` or, if it is not, its start."""
    texts = _blank_is_null(column).to_pylist()
    values = [parse(text) if text else None for text in texts]
    read = [
        text and text[:UNREAD_CHARS] if value is None else READABLE for text, value in zip(texts, values, strict=True)
    ]
    return values, pa.array(read, pa.string()).dictionary_encode()


def _prepared_episodes(batch: pa.RecordBatch) -> Facts:
    facts = _facts({name: batch[name] for name in batch.schema.names})
    if "text" in facts:
        facts["has_markup"] = pc.match_substring_regex(batch["text"], MARKUP)
    if "published_at" in facts:
        facts["published_year"] = pc.year(batch["published_at"]).cast(pa.float64())
    if "duration_seconds" in facts:
        facts["duration_seconds"] = batch["duration_seconds"].cast(pa.float64())
    return facts


def _facts(values: Facts) -> Facts:
    facts = {name: _value(name, column) for name, column in values.items()}
    lengths = {f"{name}_chars": pc.utf8_length(values[name]).cast(pa.float64()) for name in MEASURED if name in values}
    return facts | lengths


def _value(name: str, column: pa.Array) -> pa.Array:
    if name in REPEATED:
        return column.dictionary_encode()
    return column if name in KEPT else _left_out(column)


def _left_out(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([_left_out(chunk) for chunk in column.chunks])
    places = pc.if_else(column.is_valid(), pa.scalar(0, pa.int8()), None)
    return pa.DictionaryArray.from_arrays(places, [LEFT_OUT])


def _blank_is_null(column: pa.Array) -> pa.Array:
    """A CSV file cannot tell an empty text from none; nor can a reader of nothing but white space."""
    blank = pc.or_(pc.equal(column, ""), pc.utf8_is_space(column))
    return pc.if_else(blank, None, column) if pc.any(blank).as_py() else column


def _to_pandas(facts: pa.Table) -> pd.DataFrame:
    # Of the types that hold truth values and null, the only one that is no column of Python objects.
    dtypes = {pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = facts.unify_dictionaries().to_pandas(types_mapper=dtypes.get, self_destruct=True)
    return frame
