"""The current state: what is live and published, how old it is, and how far search is behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from include.storage import ArtifactStore

if TYPE_CHECKING:
    from include.episodes.snapshot import Publication
    from include.index.live import LivePointer


def still_live(store: ArtifactStore) -> dict[str, str]:
    """What search answers from and which snapshot is published, as name and value."""
    from include.episodes import snapshot  # loads Arrow, which only a message needs
    from include.index.live import read_live

    latest, live = snapshot.latest(store), read_live(store)
    return {
        "Published snapshot": f"{latest.snapshot_id}, {latest.episodes:,} episodes, made {latest.created_at:%Y-%m-%d}"
        if latest
        else "none yet",
        "Live model": f"{live.model_version}, on snapshot {live.snapshot_id}, since {live.activated_at:%Y-%m-%d}"
        if live
        else "none yet",
    }


def age_of_snapshot(store: ArtifactStore, now: datetime) -> timedelta | None:
    """How long ago the published snapshot was made; None before the first."""
    from include.episodes import snapshot

    latest = snapshot.latest(store)
    return now - latest.created_at if latest else None


@dataclass(frozen=True)
class Lag:
    """How far search is behind what was published.

    :param live: what search answers from; None if nothing is live.
    :param missed: the publications that search does not have, the oldest first.
    """

    live: LivePointer | None
    missed: list[Publication]

    @property
    def since(self) -> datetime:
        """When search fell behind; after a rollback, the time of the rollback."""
        first = self.missed[0].published_at
        return max(first, self.live.activated_at) if self.live else first


def lag_of_index(store: ArtifactStore) -> Lag | None:
    """How far the live index is behind; None if it has the published snapshot, or if nothing was published."""
    from include.episodes import snapshot
    from include.index.live import read_live

    past, live = snapshot.publications(store), read_live(store)
    mine = [place for place, item in enumerate(past) if live and item.snapshot_id == live.snapshot_id]
    missed = past[mine[-1] + 1 :] if mine else past
    return Lag(live, missed) if missed else None
