"""What is done with rows once they are read, by as many processes as there are: clean them, and join them with shows.

Rows go to sorted runs on disk, divided by shard. When all are there, the runs of a shard are merged, each episode meets
its show, and the outcome is written as a part of the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.episodes.clean import clean_line
from include.episodes.clean_batch import clean_descriptions
from include.episodes.parts import GROUP_ROWS, LocalPart, regrouped, write_part
from include.episodes.quarantine import Reason
from include.episodes.runs import SortedRun, SortedRunWriter, merge
from include.episodes.schema import (
    AROUND,
    EPISODES,
    FULL_STOPS,
    START_CHARS,
    compose_text,
    hash_of_bytes,
    shard_of,
    start_of,
)
from include.episodes.times import parse_date, parse_duration

_SHOWS = pa.schema([(name, pa.string()) for name in ("uuid", "title", "description", "language", "categories")])
_JOINED = pa.schema([*_SHOWS, *(pa.field(name, pa.string()) for name in ("text", "title_start", "description_start"))])
_SHOWS = _SHOWS.append(pa.field("row", pa.int64()))
_CLEANED = pa.schema(
    [EPISODES.field(name) for name in ("episode_id", "podcast_id", "title", "description", "published_at")]
    + [EPISODES.field(name) for name in ("duration_seconds", "audio_url")]
    + [pa.field("row", pa.int64())]
)


COMPOSED = ("title", "description", "show_title", "show_description")
"""The fields of an episode that its text is made of."""


@dataclass
class CleanedRows:
    """What became of the rows of a job, by their positions in it.

    ``rejected`` has the reason and a detail of those that cannot be used, ``warnings`` what was noticed of the others.
    """

    rejected: dict[int, tuple[Reason, str | None]] = field(default_factory=dict)
    warnings: dict[int, list[str]] = field(default_factory=dict)

    def warn(self, position: int, what: str) -> None:
        self.warnings.setdefault(position, []).append(what)


class Cleaner:
    """Cleans rows of shows and of episodes and keeps them in a folder, then makes parts of them.

    :param folder: where runs and parts are written.
    :param number: tells the files of one cleaner from those of the others.
    :param max_text_chars: length at which a description is cut.
    """

    def __init__(self, folder: Path, *, shards: int, max_text_chars: int, number: int) -> None:
        self._folder, self._shards, self._max_chars, self._number = folder, shards, max_text_chars, number
        self._writers: dict[str, SortedRunWriter] = {}

    def shows(self, rows: pa.Table) -> CleanedRows:
        """Clean shows: the columns that are kept of ``podcasts.csv``, and ``row``, the number of each row."""
        if not len(rows):
            return CleanedRows()
        titles = [clean_line(title) for title in rows["title"].to_pylist()]
        about, _ = clean_descriptions(rows["description"].combine_chunks(), titles, max_chars=self._max_chars)
        outcome, kept = CleanedRows(), []
        for position, (title, length) in enumerate(zip(titles, pc.binary_length(about).to_pylist(), strict=True)):
            if not title:
                outcome.rejected[position] = (Reason.MISSING_TITLE, None)
                continue
            kept.append(position)
            if not length:
                outcome.warn(position, "shows_without_description")
        lines = [[clean_line(value) or None for value in rows[name].to_pylist()] for name in ("language", "categories")]
        values = (rows["uuid"], titles, _or_null(about), *lines, rows["row"])
        self._keep("shows", _table(values, _SHOWS), kept, rows["uuid"].to_pylist())
        return outcome

    def episodes(self, rows: pa.Table) -> CleanedRows:
        """Clean episodes: the columns of ``episodes.csv``, and ``row``, the number of each row."""
        if not len(rows):
            return CleanedRows()
        titles = [clean_line(title) for title in rows["title"].to_pylist()]
        about, cut = clean_descriptions(rows["description"].combine_chunks(), titles, max_chars=self._max_chars)
        pub_dates, lengths = rows["pub_date"].to_pylist(), rows["audio_length"].to_pylist()
        dates = [parse_date(date) for date in pub_dates]
        durations = [parse_duration(length) if length else None for length in lengths]
        outcome, kept = CleanedRows(), []
        described = pc.not_equal(about, "").to_pylist()
        for position, (title, is_described, date, duration) in enumerate(
            zip(titles, described, dates, durations, strict=True)
        ):
            if not title:
                outcome.rejected[position] = (Reason.MISSING_TITLE, None)
            else:
                kept.append(position)
                if not is_described:
                    outcome.warn(position, "without_description")
                if date is None:
                    outcome.warn(position, "bad_date" if pub_dates[position].strip() else "empty_date")
                if duration is None and lengths[position].strip():
                    outcome.warn(position, "bad_audio_length")
        for position in set(cut).difference(outcome.rejected):
            outcome.warn(position, "description_cut")
        seconds = [int(date.timestamp()) if date else None for date in dates]
        addresses = [address.strip() or None for address in rows["audio"].to_pylist()]
        values = (rows["uuid"], rows["podcast_uuid"], titles, about, seconds, durations, addresses, rows["row"])
        self._keep("episodes", _table(values, _CLEANED), kept, rows["podcast_uuid"].to_pylist())
        return outcome

    def _keep(self, kind: str, table: pa.Table, kept: list[int], podcast_ids: Sequence[str]) -> None:
        """Put some rows of a table aside for their shards."""
        owners = [shard_of(podcast_ids[position], self._shards) for position in kept]
        if len(kept) < len(table):
            table = table.take(pa.array(kept, pa.int32()))
        if kind not in self._writers:
            self._writers[kind] = SortedRunWriter(self._folder, f"{kind}-{self._number}", key=table.column_names[0])
        if kept:
            self._writers[kind].add(table.append_column("shard", pa.array(owners, pa.int32())))

    def finish(self) -> dict[str, list[SortedRun]]:
        """Write what is still in memory; the runs of ``shows`` and of ``episodes``."""
        return {kind: writer.finish() for kind, writer in self._writers.items()}

    def part(
        self,
        shard: int,
        shows: list[SortedRun],
        dropped_shows: list[int],
        episodes: list[SortedRun],
        dropped: list[int],
    ) -> tuple[LocalPart, int]:
        """Make a part of a shard's runs; with it, how many of its episodes have a show without description.

        :param dropped_shows: numbers of the shows' rows that are left out.
        :param dropped: the same for episodes.
        """
        join = _Join(merge(shows, key="uuid", dropped=dropped_shows))
        cleaned = regrouped(merge(episodes, key="episode_id", dropped=dropped), GROUP_ROWS)
        path = self._folder / f"part-{shard:04d}.parquet"
        return write_part(path, shard, join(cleaned)), join.without_description


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
            columns["description"] = _or_null(table["description"])
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
    fields = [columns[name].combine_chunks() for name in ("title", "description")]
    texts = pc.binary_join_element_wise(*map(_with_full_stop, fields), shows["text"].combine_chunks(), " ")
    starts = [pc.utf8_slice_codeunits(pc.utf8_trim(field, AROUND), 0, START_CHARS).to_pylist() for field in fields]
    about_shows = [shows[name].to_pylist() for name in ("title_start", "description_start")]
    special = [
        row
        for row, (title, about, *show) in enumerate(zip(*starts, *about_shows, strict=True))
        if _may_repeat(start_of(title), start_of(about), *show)
    ]
    if not special:
        return texts
    rows = pa.array(special)
    values = [columns[name].take(rows).to_pylist() for name in COMPOSED]
    mask = pc.is_in(pa.array(range(len(texts))), value_set=rows)
    return pc.replace_with_mask(texts, mask, pa.array(map(compose_text, *values), pa.string()))


def _may_repeat(title: str, about: str, show_title: str, show_about: str) -> bool:
    """Whether a field might be empty or repeat another, to judge by how they start."""
    return not (title and about and show_title) or len({title, about, show_title, show_about}) < 4


def _with_full_stop(field: pa.StringArray) -> pa.StringArray:
    ended = pc.is_in(pc.utf8_slice_codeunits(field, -1), value_set=pa.array(list(FULL_STOPS)))
    return pc.if_else(ended, field, pc.binary_join_element_wise(field, ".", ""))


def _or_null(texts: pa.StringArray | pa.ChunkedArray) -> pa.StringArray | pa.ChunkedArray:
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _table(columns: Sequence[Any], schema: pa.Schema) -> pa.Table:
    arrays = [
        column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.table(arrays, schema=pa.schema([field.with_nullable(True) for field in schema]))


def _hashes(texts: pa.StringArray) -> pa.StringArray:
    """The content hash of each text, straight from Arrow's memory."""
    _, ends, text = texts.buffers()
    whole, ends = memoryview(text or b""), memoryview(ends).cast("i")
    first = texts.offset
    return pa.array(
        [hash_of_bytes(whole[ends[place] : ends[place + 1]]) for place in range(first, first + len(texts))], pa.string()
    )
