"""Profiles of catalogues that never were."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from include.episodes import snapshot
from include.quality.profile import FILE, NULLABLE, Profile
from include.storage import ArtifactStore


def profile(**changes: Any) -> Profile:
    """A catalogue of 10,000 episodes, mostly English, with what differs from it."""
    usual: dict[str, Any] = {
        "snapshot_id": "s0",
        "source_version": "v0",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "rows_read": 11_000,
        "episodes": 10_000,
        "shows": 1_000,
        "languages": {"English": 6_500, "German": 3_000, "Norwegian": 400, "other": 100},
        "description_chars_median": 300.0,
        "description_chars_mean": 500.0,
        "markup": 4_000,
        "repeated": 100,
        "newest_published_at": datetime(2025, 12, 31, tzinfo=UTC),
        "quarantined": {"orphan": 50, "missing_title": 50},
        "nulls": dict.fromkeys(NULLABLE, 500),
    }
    return Profile(**(usual | changes))


def of_size(episodes: int) -> Profile:
    """The same catalogue, smaller or larger: its shares are those of :func:`profile`."""
    whole, share = profile(), episodes / profile().episodes
    return profile(
        episodes=episodes,
        markup=int(4_000 * share),
        repeated=int(100 * share),
        languages={name: int(count * share) for name, count in whole.languages.items()},
        nulls={name: int(count * share) for name, count in whole.nulls.items()},
    )


def put_beside(store: ArtifactStore, snapshot_id: str, version: str, *, starts_history: bool = False) -> None:
    """Give a snapshot a profile, whatever is in it."""
    made = profile(snapshot_id=snapshot_id, source_version=version, starts_history=starts_history)
    store.write_json(made.model_dump(mode="json"), snapshot.FOLDER, snapshot_id, FILE)
