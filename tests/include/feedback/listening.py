"""Recorded listening, made up: what somebody searched, and what they did then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from include.feedback.events import new_session
from include.feedback.recorder import Recorder
from include.storage import ArtifactStore

MONDAY = datetime(2026, 11, 2, 9, tzinfo=UTC)


class Listening:
    """Sessions that are recorded as the service records them, at times that a test chooses."""

    def __init__(self, store: ArtifactStore, *, at: datetime = MONDAY) -> None:
        self.at = at
        self.session = new_session()
        self.recorder = Recorder(store, 30, now=lambda: self.at)

    def somebody_else(self, *, days: int = 0) -> None:
        """Another listener comes, as many days later."""
        self.session = new_session()
        self.at += timedelta(days=days, seconds=1)

    def search(
        self, query: str, shown: Sequence[str] = ("e1", "e2", "e3"), *, first: int = 1, after: float = 10
    ) -> str:
        """Search, some seconds after what was done before; the search's id."""
        self.at += timedelta(seconds=after)
        found = len(shown) + first - 1
        search = self.recorder.searched(self.session, query, shown, first=first, found=found, model="m")
        assert search is not None
        return search

    def open(self, search: str, episode: str) -> None:
        self.at += timedelta(seconds=1)
        assert self.recorder.opened(self.session, search, episode)

    def play(self, search: str, episode: str, seconds: float = 60) -> None:
        self.at += timedelta(seconds=1)
        assert self.recorder.played(self.session, search, episode, seconds)

    def write(self) -> None:
        self.recorder.flush()
