"""Recording what listeners do, without ever holding up search."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from include.feedback.events import (
    MAX_SECONDS,
    Event,
    EventKind,
    day_of_search,
    folder,
    new_search,
    stored_session,
    table,
)
from include.feedback.personal import looks_personal
from include.storage import ArtifactStore

log = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
"""Seconds between writes: a killed process loses this much."""
ROWS = 1_000
"""How many events are written at once."""
MOST_WAITING = 10_000
"""How many events are kept while the store cannot be written to; more are lost."""
CLOSING_SECONDS = 10.0
SAID_EVERY_SECONDS = 600.0


class Recorder:
    """Collects events in memory and writes them from time to time, always as new files of its own.

    Nothing here raises or waits for the store. What cannot be written is retried, and counted when it is lost.

    :param days: how long events are kept, as listeners are told.
    :param every: seconds between two writes.
    :param now: what time it is, in UTC.
    """

    def __init__(
        self,
        store: ArtifactStore,
        days: int,
        *,
        every: float = EVERY_SECONDS,
        rows: int = ROWS,
        most: int = MOST_WAITING,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.days = days
        self.lost = 0
        """Events that could not be written and are lost."""
        self._store = store
        self._every, self._rows, self._most = every, rows, most
        self._now = now
        self._waiting: list[Event] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._failing = False
        self._said = -SAID_EVERY_SECONDS
        self._thread = threading.Thread(target=self._write_now_and_then, name="recorder", daemon=True)

    def begin(self) -> None:
        """Write from now on."""
        self._thread.start()

    def close(self) -> None:
        """Write what is left, and end; it takes :data:`CLOSING_SECONDS` at most."""
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSING_SECONDS)
        if left := self.lost + len(self._waiting):
            log.warning("%d records of searches and plays were lost.", left)

    def searched(
        self, session: str, query: str, shown: Sequence[str], *, first: int = 1, found: int, model: str
    ) -> str | None:
        """Record a search. Returns its id, or None if its query should not be stored.

        :param first: rank of the first that is shown.
        :param found: results that can be paged through.
        """
        if looks_personal(query):
            return None
        at = self._now()
        search = new_search(at)
        self._keep(
            Event(
                "search",
                at,
                stored_session(session, search),
                search,
                query=query,
                shown=tuple(shown),
                first=first,
                found=found,
                model=model,
            )
        )
        return search

    def opened(self, session: str, search: str, episode: str) -> bool:
        """Record that an episode's page was opened. Returns whether the search id is valid."""
        return self._happened("opened", session, search, episode)

    def played(self, session: str, search: str, episode: str, seconds: float) -> bool:
        """Record how long an episode has been played so far. Returns whether the search id is valid."""
        return self._happened("played", session, search, episode, min(max(seconds, 0.0), MAX_SECONDS))

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            events, self._waiting = self._waiting, []
        for day in sorted({event.day for event in events}):
            own = [event for event in events if event.day == day]
            rows = table(own)
            try:
                self._store.write_table(rows, *folder(day), f"{own[0].at:%Y%m%dT%H%M%S}-{uuid.uuid4().hex}.parquet")
                self._failing = False
            except Exception as error:  # whatever it is, search goes on
                self._failing = True
                self._not_written(own, error)

    def _happened(self, kind: EventKind, session: str, search: str, episode: str, seconds: float | None = None) -> bool:
        """Whether it was kept. A process does not know who was shown what: that is checked when the events are read."""
        day, at = day_of_search(search), self._now()
        if day is None or not at.date() - timedelta(days=1) <= day <= at.date():
            return False
        self._keep(Event(kind, at, stored_session(session, search), search, episode=episode, seconds=seconds))
        return True

    def _keep(self, event: Event) -> None:
        with self._lock:
            if len(self._waiting) >= self._most:
                self.lost += 1
                return
            self._waiting.append(event)
            if len(self._waiting) >= self._rows and not self._failing:
                self._wake.set()

    def _write_now_and_then(self) -> None:
        while not self._closing:
            self._wake.wait(self._every)
            self._wake.clear()
            self.flush()
        self.flush()

    def _not_written(self, events: list[Event], error: Exception) -> None:
        with self._lock:
            kept = events[: max(0, self._most - len(self._waiting))]
            self._waiting = kept + self._waiting
            self.lost += len(events) - len(kept)
        if time.monotonic() - self._said >= SAID_EVERY_SECONDS:
            self._said = time.monotonic()
            log.warning(
                "Records of searches and plays cannot be written (%s: %s): %d are waiting, %d are lost.",
                type(error).__name__,
                error,
                len(self._waiting),
                self.lost,
            )
