"""From the dataset's two files to the Episode table, with every row that cannot be used put in quarantine."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from include.episodes.clean import clean_description, clean_line
from include.episodes.csv_reader import RAW_CHARS
from include.episodes.quarantine import Quarantine, Reason
from include.episodes.raw import COLUMNS, batches
from include.episodes.schema import EPISODES, compose_text, content_hash

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""Dates outside are mistakes. Fixed, not relative to today, so that the same data always gives the same snapshot."""
MAX_DURATION = 7 * 24 * 3600
"""Seconds; a longer ``audio_length`` is a mistake (bytes or milliseconds, usually)."""
WARNINGS = (
    "shows_without_description",
    "episodes_without_show_description",
    "empty_date",
    "bad_audio_length",
    "description_cut",
)
"""What is counted and kept all the same."""
LOG_EVERY = 50_000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """The outcome of :func:`prepare`.

    ``episodes`` has the shape of :data:`include.episodes.schema.EPISODES`, ``quarantine`` that of
    :data:`include.episodes.schema.QUARANTINE`. ``counts`` has, for each file, ``<file>_read``, ``<file>_kept`` and
    ``<file>_quarantined`` (the first is the sum of the others) and, of what is kept, :data:`WARNINGS`. ``quarantined``
    counts the rows of both files in quarantine by reason.
    """

    episodes: pa.Table
    quarantine: pa.Table
    counts: dict[str, int]
    quarantined: dict[str, int]


class Show(NamedTuple):
    """What an episode takes from its show, clean."""

    title: str
    description: str | None
    language: str | None
    categories: str | None


def prepare(folder: Path, *, max_file_bytes: int, max_text_chars: int) -> Prepared:
    """Read, join and clean a dataset.

    :param folder: holds ``podcasts.csv`` and ``episodes.csv``, plain or zipped.
    :param max_file_bytes: most bytes that one file may hold, unpacked.
    :param max_text_chars: length at which a description is cut.
    :raises DatasetError: a file cannot be read as a whole. A row that cannot be used only goes to quarantine.
    """
    preparation = _Preparation(max_text_chars)
    preparation.read_shows(folder, max_file_bytes)
    preparation.read_episodes(folder, max_file_bytes)
    return preparation.result()


def parse_date(value: str) -> datetime | None:
    """A date as the dataset writes it (``2017-12-01 05:00:00+00``) or in ISO 8601, in UTC; without an offset it is UTC.

    None where it is no date, or none that a podcast can have (:data:`EARLIEST`, :data:`LATEST`).
    """
    try:
        date = datetime.fromisoformat(value)
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return date.replace(microsecond=0) if EARLIEST <= date < LATEST else None


def parse_duration(value: str) -> int | None:
    """Whole seconds, or None where the value is no length that an episode can have."""
    try:
        seconds = int(float(value))
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds <= MAX_DURATION else None


class _Preparation:
    """One run of :func:`prepare`: the shows read so far, the ids kept so far, and what was put aside."""

    def __init__(self, max_text_chars: int) -> None:
        self.max_text_chars = max_text_chars
        self.quarantine = Quarantine()
        files = [f"{file}_{what}" for file in COLUMNS for what in ("read", "kept", "quarantined")]
        self.counts: Counter[str] = Counter(dict.fromkeys([*files, *WARNINGS], 0))
        self.shows: dict[str, Show] = {}
        self.untitled_shows: set[str] = set()
        self.tables = [EPISODES.empty_table()]
        # Hash of the kept row by id, to tell a row that is repeated from one that contradicts it.
        self._kept: dict[str, int] = {}

    def read_shows(self, folder: Path, max_file_bytes: int) -> None:
        self._kept = {}
        for batch in batches(folder, "podcasts", max_file_bytes=max_file_bytes):
            self.quarantine.add_broken("podcasts", batch.broken)
            self.counts["podcasts_read"] += len(batch.rows) + len(batch.broken)
            for number, row in zip(batch.numbers, batch.rows, strict=True):
                self._add_show(number, row)
        self.counts["podcasts_kept"] = len(self.shows)
        self.counts["shows_without_description"] = sum(show.description is None for show in self.shows.values())

    def _add_show(self, number: int, row: tuple[str, ...]) -> None:
        uuid, title, _, description, language, categories, *_ = row
        uuid, title = uuid.strip(), clean_line(title)
        if not uuid:
            self._reject("podcasts", number, Reason.MISSING_ID, row)
            return
        if not title:
            self.untitled_shows.add(uuid)
            self._reject("podcasts", number, Reason.MISSING_TITLE, row)
            return
        if self._is_repeated("podcasts", number, uuid, row):
            return
        about = clean_description(description, title=title, max_chars=self.max_text_chars).text
        self.shows[uuid] = Show(title, about or None, clean_line(language) or None, clean_line(categories) or None)

    def read_episodes(self, folder: Path, max_file_bytes: int) -> None:
        self._kept = {}
        started, logged = time.monotonic(), 0
        for batch in batches(folder, "episodes", max_file_bytes=max_file_bytes):
            self.quarantine.add_broken("episodes", batch.broken)
            self.counts["episodes_read"] += len(batch.rows) + len(batch.broken)
            kept = [
                episode
                for number, row in zip(batch.numbers, batch.rows, strict=True)
                if (episode := self._episode(number, row)) is not None
            ]
            if kept:
                self.counts["episodes_kept"] += len(kept)
                self.tables.append(_table(kept))
            if self.counts["episodes_read"] - logged >= LOG_EVERY:
                logged = self.counts["episodes_read"]
                self._log(started)
        self._log(started)

    def _episode(self, number: int, row: tuple[str, ...]) -> tuple[Any, ...] | None:
        """The values of one episode in the order of the Episode schema, or None when it went to quarantine."""
        uuid, title, audio, audio_length, pub_date, description, podcast_uuid = row
        uuid, podcast_uuid, title = uuid.strip(), podcast_uuid.strip(), clean_line(title)
        show = self.shows.get(podcast_uuid)
        if not uuid:
            self._reject("episodes", number, Reason.MISSING_ID, row)
            return None
        if show is None:
            untitled = podcast_uuid in self.untitled_shows
            self._reject("episodes", number, Reason.SHOW_WITHOUT_TITLE if untitled else Reason.ORPHAN, row)
            return None
        if not title:
            self._reject("episodes", number, Reason.MISSING_TITLE, row)
            return None
        about, cut = clean_description(description, title=title, max_chars=self.max_text_chars)
        if not about:
            self._reject("episodes", number, Reason.MISSING_DESCRIPTION, row)
            return None
        pub_date = pub_date.strip()
        date = parse_date(pub_date) if pub_date else None
        if pub_date and date is None:
            self._reject("episodes", number, Reason.UNPARSABLE_DATE, row, detail=pub_date[:100])
            return None
        if self._is_repeated("episodes", number, uuid, row):
            return None
        duration = parse_duration(audio_length) if audio_length else None
        self.counts["bad_audio_length"] += bool(audio_length.strip()) and duration is None
        self.counts["empty_date"] += date is None
        self.counts["description_cut"] += cut
        self.counts["episodes_without_show_description"] += show.description is None
        text = compose_text(title, about, show.title, show.description)
        values = (uuid, podcast_uuid, title, about, *show, date, duration, audio.strip() or None, text)
        return (*values, content_hash(text))

    def _is_repeated(self, file: str, number: int, uuid: str, row: tuple[str, ...]) -> bool:
        """Whether a kept row has this id already; if not, this one is kept from now on."""
        fingerprint = hash(row)
        first = self._kept.get(uuid)
        if first is None:
            self._kept[uuid] = fingerprint
            return False
        detail = "identical to the row that is kept" if first == fingerprint else "differs from the row that is kept"
        self._reject(file, number, Reason.DUPLICATE_ID, row, detail=detail)
        return True

    def _reject(self, file: str, number: int, reason: Reason, row: Sequence[str], *, detail: str | None = None) -> None:
        self.quarantine.add(file, number, reason, key=row[0].strip()[:100], detail=detail, raw=_as_csv(row))

    def _log(self, started: float) -> None:
        read = self.counts["episodes_read"]
        rate = read / max(time.monotonic() - started, 1e-9)
        log.info(
            "Prepared %s episodes, kept %s (%.0f a second)", f"{read:,}", f"{self.counts['episodes_kept']:,}", rate
        )

    def result(self) -> Prepared:
        for file in COLUMNS:
            self.counts[f"{file}_quarantined"] = self.quarantine.rows_of(file)
        return Prepared(
            episodes=pa.concat_tables(self.tables),
            quarantine=self.quarantine.table(),
            counts=dict(self.counts),
            quarantined=self.quarantine.by_reason(),
        )


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, EPISODES, strict=True)]
    return pa.table(arrays, schema=EPISODES)


def _as_csv(row: Sequence[str]) -> str:
    """The start of a row as it would stand in a file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([value[:RAW_CHARS] for value in row])
    return text.getvalue()[:RAW_CHARS]
