"""What the table of bad data is made of: a good catalogue, ways to spoil it, and ways in which ingestion ends."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from include.episodes.columns import COLUMNS

Row = dict[str, str] | bytes
"""A row by its columns, or a line of the file as it is."""
Pack = Callable[[bytes], bytes | None]
"""From what should be in a file to what is; None if there is no file."""

SHOWS = 30
EPISODES = 600
EPISODES_A_SHOW = EPISODES // SHOWS
IN_GERMAN = range(2, SHOWS, 3)
"""Places of the shows in German; the others are in English."""


RAW = "validate_raw_episodes"


class Draft:
    """Both files before they are written; a case changes it."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {"podcasts": shows(), "episodes": episodes(EPISODES)}
        self.columns = {file: list(names) for file, names in COLUMNS.items()}
        self.delimiter, self.line_end = ",", "\n"
        self.packs: dict[str, Pack] = {}

    def row(self, file: str, place: int) -> dict[str, str]:
        """A row to change."""
        row = self.rows[file][place]
        assert isinstance(row, dict)
        return row

    def content(self, file: str) -> bytes:
        """What is in a file unless it is packed into something else."""
        lines = (row if isinstance(row, bytes) else self._line(file, row) for row in self.rows[file])
        return b"".join([self._line(file, {name: name for name in self.columns[file]}), *lines])

    def write(self, folder: Path) -> None:
        """Write the files."""
        folder.mkdir()
        for file in self.rows:
            data: bytes | None = self.content(file)
            if file in self.packs:
                data = self.packs[file](self.content(file))
            if data is not None:
                (folder / f"{file}.csv").write_bytes(data)

    def _line(self, file: str, row: dict[str, str]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, lineterminator=self.line_end)
        writer.writerow([row.get(name, "") for name in self.columns[file]])
        return text.getvalue().encode()


def shows() -> list[Row]:
    return [
        {
            "uuid": f"show-{n}",
            "title": f"Show {n}",
            "description": f"What show {n} is about",
            "language": "German" if n in IN_GERMAN else "English",
            "categories": "Arts",
        }
        for n in range(SHOWS)
    ]


def episodes(count: int) -> list[Row]:
    """Episodes an hour apart, of each show in turn."""
    start = datetime(2017, 12, 1, tzinfo=UTC)
    return [
        {
            "uuid": f"episode-{n}",
            "title": f"Gespräch {n}" if n % SHOWS in IN_GERMAN else f"Talk {n}",
            "audio": f"https://example.org/{n}.mp3",
            "audio_length": str(600 + n),
            "pub_date": f"{start + timedelta(hours=n):%Y-%m-%d %H:%M:%S}+00",
            "description": " ".join(f"Part {part} is about {n} and {n * part}." for part in range(2, 16)),
            "podcast_uuid": f"show-{n % SHOWS}",
        }
        for n in range(count)
    ]


@dataclass(frozen=True)
class Stops:
    """The run stops and nothing is published.

    :param messages: the tasks that fail, each with a phrase of its message; "…" stands for any text.
    """

    messages: dict[str, str]


@dataclass(frozen=True)
class Published:
    """The snapshot is published.

    :param quarantined: rows in quarantine by reason, of both files.
    :param warnings: the expectations that were missed, in the words of Data Docs; one may be missed by several tables.
    :param holds: an episode by its id, and what the snapshot has in some of its fields.
    :param counted: what was noticed of rows that are kept.
    """

    quarantined: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    holds: tuple[str, dict[str, object]] | None = None
    counted: dict[str, int] = field(default_factory=dict)


Spoil = Callable[[Draft], None]


@dataclass(frozen=True)
class Case:
    """One kind of bad data.

    :param settings: settings that differ from their defaults, by name.
    """

    name: str
    spoil: Spoil
    ends: Stops | Published
    settings: dict[str, str] = field(default_factory=dict)


def packed(pack: Pack) -> Spoil:
    """The file of episodes is something else than what it should be."""

    def spoil(draft: Draft) -> None:
        draft.packs["episodes"] = pack

    return spoil


def change(file: str, places: Iterable[int], **values: str) -> Spoil:
    """Some rows have other values."""

    def spoil(draft: Draft) -> None:
        for place in places:
            draft.row(file, place).update(values)

    return spoil


def change_each(value: Callable[[int, dict[str, str]], dict[str, str]]) -> Spoil:
    """Every episode has other values, which follow from its place and what it is."""

    def spoil(draft: Draft) -> None:
        for place in range(EPISODES):
            row = draft.row("episodes", place)
            row.update(value(place, row))

    return spoil


def insert(file: str, *lines: bytes) -> Spoil:
    """Lines stand in the middle of a file that do not belong there."""

    def spoil(draft: Draft) -> None:
        middle = len(draft.rows[file]) // 2
        draft.rows[file][middle:middle] = lines

    return spoil


def repeat(file: str, count: int, **values: str) -> Spoil:
    """The first rows of a file come again at its end, with other values."""

    def spoil(draft: Draft) -> None:
        draft.rows[file] += [draft.row(file, place) | values for place in range(count)]

    return spoil


def keep(file: str, count: int, *lines: bytes) -> Spoil:
    """Only the first rows of a file are there, and then some lines."""

    def spoil(draft: Draft) -> None:
        draft.rows[file][count:] = lines

    return spoil


def columns(file: str, others: Callable[[list[str]], list[str]]) -> Spoil:
    """A file has other columns, or has them in another order."""

    def spoil(draft: Draft) -> None:
        draft.columns[file] = others(draft.columns[file])

    return spoil


def written(*, delimiter: str = ",", line_end: str = "\n") -> Spoil:
    """Both files are written in another manner of CSV."""

    def spoil(draft: Draft) -> None:
        draft.delimiter, draft.line_end = delimiter, line_end

    return spoil


def several(*spoils: Spoil) -> Spoil:
    def spoil(draft: Draft) -> None:
        for one in spoils:
            one(draft)

    return spoil


def in_zip(data: bytes) -> bytes:
    """A zip as it should be."""
    return zipped(data, "episodes.csv")


def zipped(data: bytes, *names: str, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip whose members all hold the data."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in names:
            archive.writestr(name, data)
    return file.getvalue()


def patched(archive: bytes, *patches: tuple[bytes, int, bytes]) -> bytes:
    """A zip with other bytes at so many behind the first occurrence of a record's signature."""
    changed = bytearray(archive)
    for signature, offset, value in patches:
        start = changed.index(signature) + offset
        changed[start : start + len(value)] = value
    return bytes(changed)
