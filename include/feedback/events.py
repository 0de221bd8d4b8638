"""Recorded events: searches with the episodes shown, and which of those were opened or played."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Literal

import pyarrow as pa

from include.storage import ArtifactStore, digest

FOLDER = ("feedback", "events")
"""Holds a folder for each day, such as ``day=2026-01-31``, with as many files as were written."""
SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("at", pa.timestamp("ms", tz="UTC")),
        ("session", pa.string()),
        ("search", pa.string()),
        ("query", pa.string()),
        ("shown", pa.list_(pa.string())),
        ("first", pa.int32()),
        ("found", pa.int32()),
        ("model", pa.string()),
        ("episode", pa.string()),
        ("seconds", pa.float32()),
    ]
)
SESSION = r"[A-Za-z0-9_-]{16,64}"
"""The format of a session id: random, and not anybody's name."""
SEARCH = r"([0-9]{8})-[A-Za-z0-9_-]{22}"
"""The format of a search id: its day, and a part that nobody can guess who was not shown its results."""
MAX_SECONDS = 86_400
READS = 3
"""Tries to read a day whose files are being merged at the same time."""
_DAY = "day="

EventKind = Literal["search", "opened", "played"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a listener did. Fields that only searches have are empty in other events, and vice versa.

    :param session: see :func:`stored_session`.
    :param search: the search's id; for episodes opened or played, the search that showed it.
    :param shown: ids of the episodes that were shown, best first.
    :param first: rank of the first of them, from 1.
    :param found: how many there were to page through.
    :param model: the version that answered.
    :param seconds: how long it has been played so far.
    """

    kind: EventKind
    at: datetime
    session: str
    search: str
    query: str | None = None
    shown: Sequence[str] = ()
    first: int | None = None
    found: int | None = None
    model: str | None = None
    episode: str | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Invalid text (half a character) would keep all other events from being written, too."""
        for name in ("query", "episode"):
            if (text := getattr(self, name)) is not None:
                object.__setattr__(self, name, text.encode("utf-8", "replace").decode())

    @property
    def day(self) -> date:
        """The day it is kept with: that of the search, so that a day holds all of its searches."""
        day = day_of_search(self.search)
        assert day is not None
        return day


def new_session() -> str:
    """The id of a session: random."""
    return secrets.token_urlsafe(16)


def new_search(at: datetime) -> str:
    """The id of a search."""
    return f"{at:%Y%m%d}-{secrets.token_urlsafe(16)}"


def day_of_search(search: str) -> date | None:
    """The day of a search, by its id; None if that is not a valid id."""
    match = re.fullmatch(SEARCH, search, re.ASCII)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None


def stored_session(session: str, search: str) -> str:
    """The stored id of a session: it cannot be traced to anybody, and changes every day."""
    return digest("session", session, search[:8], length=16)


def table(events: Sequence[Event]) -> pa.Table:
    """Events in the shape of :data:`SCHEMA`."""
    return pa.Table.from_pylist([asdict(event) for event in events], schema=SCHEMA)


def days(store: ArtifactStore) -> list[date]:
    """The days with stored events, oldest first."""
    names = (name.removeprefix(_DAY) for name in store.names(*FOLDER) if name.startswith(_DAY))
    return sorted(map(date.fromisoformat, names))


def folder(day: date) -> tuple[str, ...]:
    """Where the events of a day are kept."""
    return (*FOLDER, f"{_DAY}{day:%Y-%m-%d}")


def read_day(store: ArtifactStore, day: date) -> pa.Table:
    """All events of a day, in the shape of :data:`SCHEMA`, in the order in which they happened.

    After a killed :func:`compact`, an event may occur twice.
    """
    for _ in range(READS - 1):
        with suppress(FileNotFoundError):  # meanwhile they were put together, or removed
            return _read(store, day, store.names(*folder(day)))
    return _read(store, day, store.names(*folder(day)))


def compact(store: ArtifactStore, day: date, *, more_than: int) -> None:
    """Merge the files of a day, if there are many: each process writes one per minute.

    Files written meanwhile stay as they are. Only one process may do this at a time.
    """
    names = store.names(*folder(day))
    if len(names) > more_than:
        store.write_table(
            _read(store, day, names), *folder(day), f"{names[-1].partition('-')[0]}-{uuid.uuid4().hex}.parquet"
        )
        for name in names:
            store.remove(*folder(day), name)


def _read(store: ArtifactStore, day: date, names: Sequence[str]) -> pa.Table:
    parts = [store.read_table(*folder(day), name) for name in names]
    return pa.concat_tables([SCHEMA.empty_table(), *parts]).sort_by("at")


def remove_old(store: ArtifactStore, keep_days: int, *, now: datetime) -> list[date]:
    """Remove the days that are older than ``keep_days``; all of them if that is 0. The days that were removed."""
    first_kept = now.date() - timedelta(days=keep_days - 1)
    old = [day for day in days(store) if day < first_kept or not keep_days]
    for day in old:
        store.remove(*folder(day))
    return old
