"""What is done with rows once they are read: clean them, and join episodes with their shows.

Cleaned rows go to sorted runs on disk, divided by shard. When all are there, the runs of a shard are merged, each
episode meets its show, and the outcome is written as a part of the snapshot. Several threads do it at a time: most of
it is work of Polars and Arrow, which lets the others run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from include.episodes.clean import MAX_LINE_CHARS, clean_line
from include.episodes.clean_batch import clean_descriptions
from include.episodes.parts import GROUP_ROWS, LocalPart, regrouped, write_part
from include.episodes.runs import SortedRun, merge
from include.episodes.schema import (
    AROUND,
    EPISODES,
    FULL_STOPS,
    MAX_TEXT_CHARS,
    START_CHARS,
    compose_text,
    hash_of_bytes,
    start_of,
)
from include.episodes.times import parse_date, parse_duration

_SHOWS = pa.schema([(name, pa.string()) for name in ("uuid", "title", "description", "language", "categories")])
_JOINED = pa.schema([*_SHOWS, *(pa.field(name, pa.string()) for name in ("text", "title_start", "description_start"))])
_CLEANED = pa.schema(
    [EPISODES.field(name) for name in ("episode_id", "podcast_id", "title", "description", "published_at")]
    + [EPISODES.field(name) for name in ("duration_seconds", "audio_url")]
)

_WORD = "^[!-~]+$"
_LINE = "^[!-%'-;=-~]+( [!-%'-;=-~]+)*$"
"""ASCII without markup and references, on one line, no two spaces beside each other."""
_DATE = r"^(19|20)[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-5][0-9]:[0-5][0-9]\+00$"
_LENGTH = "^[1-9][0-9]{0,4}$"
"""What values mostly look like: they are read in columns, all others one by one."""
COMPOSED = ("title", "description", "show_title", "show_description")
"""The fields of an episode that its text is made of."""


@dataclass
class CleanedRows:
    """Some rows of a file, cleaned, and what was noticed of them, by their positions.

    ``table`` has all of them; its first column is their ids. ``fingerprints`` are hashes of the rows as they were read,
    ``in_html`` says whose description has a ``<``. ``untitled`` are those without a title, ``warnings`` what is odd
    about the others.
    """

    table: pa.Table
    fingerprints: list[int]
    in_html: list[bool]
    untitled: set[int] = field(default_factory=set)
    warnings: dict[int, list[str]] = field(default_factory=dict)

    def warn(self, what: str, of: pl.Series) -> None:
        """Note something of the rows for which a series is true."""
        for position in of.arg_true().to_list():
            if position not in self.untitled:
                self.warnings.setdefault(position, []).append(what)


def clean_shows(rows: pa.Table, *, max_text_chars: int = MAX_TEXT_CHARS) -> CleanedRows:
    """Clean shows: the columns of ``podcasts.csv``.

    :param max_text_chars: length at which a description is cut.
    """
    raw = pl.DataFrame(rows)
    lines = ("title", "language", "categories")
    usual = raw.select(_usual("uuid", _WORD), *(_usual(name, _LINE) for name in lines))
    ids = _completed(usual["uuid"], raw["uuid"], str.strip)
    titles, *others = (_completed(usual[name], raw[name], clean_line) for name in lines)
    about, _ = clean_descriptions(raw["description"], titles, max_chars=max_text_chars)
    cleaned = _cleaned(raw, (ids, titles, _or_null(about), *map(_or_null, map(_strings, others))), _SHOWS)
    cleaned.untitled = set((titles == "").arg_true())
    cleaned.warn("shows_without_description", pl.Series(about) == "")
    return cleaned


def clean_episodes(rows: pa.Table, *, max_text_chars: int = MAX_TEXT_CHARS) -> CleanedRows:
    """The same for episodes: the columns of ``episodes.csv``."""
    raw = pl.DataFrame(rows)
    usual = raw.select(
        _usual("title", _LINE),
        *(_usual(name, _WORD) for name in ("uuid", "podcast_uuid", "audio")),
        _usual("pub_date", _DATE).str.head(19).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).dt.epoch("s"),
        _usual("audio_length", _LENGTH).cast(pl.Int32),
    )
    ids, shows, audio = (_completed(usual[name], raw[name], str.strip) for name in ("uuid", "podcast_uuid", "audio"))
    titles = _completed(usual["title"], raw["title"], clean_line)
    dates = _completed(usual["pub_date"], raw["pub_date"], _seconds)
    durations = _completed(usual["audio_length"], raw["audio_length"], parse_duration)
    about, cut = clean_descriptions(raw["description"], titles, max_chars=max_text_chars)
    cleaned = _cleaned(raw, (ids, shows, titles, about, dates, durations, _or_null(_strings(audio))), _CLEANED)
    cleaned.untitled = set((titles == "").arg_true())
    cleaned.warn("without_description", pl.Series(about) == "")
    blank = raw["pub_date"].str.strip_chars() == ""
    cleaned.warn("bad_date", dates.is_null() & ~blank)
    cleaned.warn("empty_date", dates.is_null() & blank)
    cleaned.warn("bad_audio_length", durations.is_null() & (raw["audio_length"].str.strip_chars() != ""))
    cleaned.warn("description_cut", pl.Series(range(len(rows))).is_in(cut))
    return cleaned


def make_part(
    path: Path, shard: int, shows: Sequence[SortedRun], episodes: Sequence[SortedRun], *, stopped: Event
) -> tuple[LocalPart, int]:
    """Make a part of a shard's runs; with it, how many of its episodes have a show without description.

    :param path: the file that is written.
    :param stopped: set when the part is not wanted any more: what is returned then is of no use.
    """
    join = _Join(merge(shows))
    cleaned = takewhile(lambda _: not stopped.is_set(), regrouped(merge(episodes), GROUP_ROWS))
    return write_part(path, shard, join(cleaned)), join.without_description


def _usual(name: str, pattern: str) -> pl.Expr:
    """Values that are as most of them are, and need nothing; null for the others."""
    column = pl.col(name)
    return pl.when(column.str.contains(pattern) & (column.str.len_bytes() <= MAX_LINE_CHARS)).then(column)


def _completed(usual: pl.Series, raw: pl.Series, clean: Callable[[str], Any]) -> pl.Series:
    """A column with what a function makes of the values that are null in ``usual``."""
    others = usual.is_null().arg_true()
    return usual.scatter(others, pl.Series([clean(value) for value in raw.gather(others)], dtype=usual.dtype))


def _seconds(date: str) -> int | None:
    found = parse_date(date)
    return int(found.timestamp()) if found else None


def _cleaned(raw: pl.DataFrame, columns: Sequence[pl.Series | pa.Array], schema: pa.Schema) -> CleanedRows:
    arrays = [column.to_arrow() if isinstance(column, pl.Series) else column for column in columns]
    arrays = [array.cast(field.type) for array, field in zip(arrays, schema, strict=True)]
    table = pa.table(arrays, schema=pa.schema([field.with_nullable(True) for field in schema]))
    in_html = raw["description"].str.contains("<", literal=True)
    return CleanedRows(table, raw.hash_rows().reinterpret(signed=True).to_list(), in_html.to_list())


def _strings(column: pl.Series) -> pa.StringArray:
    return column.to_arrow().cast(pa.string())


class _Join:
    """Gives episodes their show, their text and its hash.

    The text is what :func:`include.episodes.schema.compose_text` makes of the four fields. Most of it is put together
    in columns: the function itself is asked for shows, and for the rows in which a field might repeat another.
    """

    def __init__(self, shows: Iterator[pa.Table]) -> None:
        joined = [_JOINED.empty_table(), *(_with_text(table) for table in regrouped(shows, GROUP_ROWS))]
        self._shows = pa.concat_tables(joined).combine_chunks()
        self._places = {uuid: place for place, uuid in enumerate(self._shows["uuid"].to_pylist())}
        self.without_description = 0

    def __call__(self, cleaned: Iterator[pa.Table]) -> Iterator[pa.Table]:
        for table in cleaned:
            places = [self._places[uuid] for uuid in table["podcast_id"].to_pylist()]
            shows = self._shows.take(pa.array(places, pa.int64()))
            self.without_description += shows["description"].null_count
            columns = {name: table[name] for name in EPISODES.names if name in table.column_names}
            columns |= {f"show_{name}": shows[name] for name in ("title", "description")}
            columns |= {name: shows[name] for name in ("language", "categories")}
            columns["text"] = text = _composed(columns, shows)
            columns["content_hash"] = _hashes(text)
            columns["description"] = _or_null(table["description"].chunk(0))
            yield pa.table([columns[name] for name in EPISODES.names], schema=EPISODES)


def _with_text(shows: pa.Table) -> pa.Table:
    """Shows with their part of the texts, and with the starts of their title and description."""
    fields = list(zip(shows["title"].to_pylist(), shows["description"].to_pylist(), strict=True))
    starts = [[start_of((field or "").strip(AROUND)) for field in both] for both in fields]
    columns = [[compose_text("", "", title, about) for title, about in fields], *zip(*starts, strict=True)]
    for name, column in zip(("text", "title_start", "description_start"), columns, strict=True):
        shows = shows.append_column(name, pa.array(column, pa.string()))
    return shows.select(_JOINED.names)


def _composed(columns: dict[str, pa.ChunkedArray], shows: pa.Table) -> pa.StringArray:
    """The texts of some episodes.

    :param columns: the episodes' columns, :data:`COMPOSED` among them.
    :param shows: of each, in the shape of :data:`_JOINED`.
    """
    title, about = (columns[name].chunk(0) for name in ("title", "description"))
    frame = pl.DataFrame({"title": title, "about": about, "title_start": shows["title_start"]})
    frame = frame.with_columns(about_start=pl.Series(shows["description_start"]))
    stops = frame.select(_stop("title"), _stop("about"))
    pieces = (title, _strings(stops["title"]), about, _strings(stops["about"]), shows["text"].combine_chunks())
    texts = pc.binary_join_element_wise(*pieces, "")
    special = _may_repeat(frame)
    if not special:
        return texts
    rows = pa.array(special)
    values = [columns[name].take(rows).to_pylist() for name in COMPOSED]
    mask = pc.is_in(pa.array(range(len(texts))), value_set=rows)
    return pc.replace_with_mask(texts, mask, pa.array(map(compose_text, *values), pa.string()))


def _stop(name: str) -> pl.Expr:
    """What stands behind a field: nothing if it is empty."""
    field = pl.col(name)
    stop = pl.when(field.str.tail(1).is_in(list(FULL_STOPS))).then(pl.lit(" ")).otherwise(pl.lit(". "))
    return pl.when(field != "").then(stop).otherwise(pl.lit("")).alias(name)


def _may_repeat(frame: pl.DataFrame) -> list[int]:
    """The rows in which a field might say nothing or repeat another, to judge by how they start.

    :param frame: ``title`` and ``about`` of episodes, ``title_start`` and ``about_start`` of their shows.
    """
    # What stands around a start may also stand within the field: where starts are the same, so are these.
    starts = frame.select(
        pl.col("title", "about").str.strip_chars_start(AROUND).str.head(START_CHARS),
        pl.col("title_start", "about_start"),
        (pl.col("about") == "").alias("without"),
    ).with_columns(pl.col(pl.String).str.strip_chars_end(AROUND))
    nothing = pl.any_horizontal(pl.col("title", "title_start") == "") | ((pl.col("about") == "") & ~pl.col("without"))
    own = pl.concat_str("title", "about")
    folded = pl.concat_list(pl.col(pl.String).str.to_lowercase())  # but for ASCII, that is not the same
    some = starts.select(
        nothing | (own.str.len_bytes() > own.str.len_chars()) | (folded.list.n_unique() < len(COMPOSED))
    )
    rows, found = some.to_series().arg_true(), []
    for row, (title, about, *show, without) in zip(rows, starts[rows].rows(), strict=True):
        given = [start for start in (start_of(title), start_of(about), *show) if start]
        if len(set(given)) < len(given) or not (title and show[0] and (about or without)):
            found.append(row)
    return found


def _or_null(texts: pa.StringArray | pa.ChunkedArray) -> pa.StringArray | pa.ChunkedArray:
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _hashes(texts: pa.StringArray) -> pa.StringArray:
    """The content hash of each text, straight from Arrow's memory."""
    _, ends, text = texts.buffers()
    whole, ends = memoryview(text or b""), memoryview(ends).cast("i")
    first = texts.offset
    return pa.array(
        [hash_of_bytes(whole[ends[place] : ends[place + 1]]) for place in range(first, first + len(texts))], pa.string()
    )
