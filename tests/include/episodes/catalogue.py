"""Prepared episodes made by a test, and snapshots of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from include.episodes import snapshot
from include.episodes.schema import EPISODES, compose_text, content_hash
from include.storage import ArtifactStore

SHOWS = 12
Row = dict[str, Any]


def episode(number: int, **changes: Any) -> Row:
    """One prepared episode; its text and hash follow from its fields."""
    show = number % SHOWS
    row: Row = {
        "episode_id": f"e{number:04d}",
        "podcast_id": f"p{show:02d}",
        "title": f"Episode {number}",
        "description": f"What is told in number {number}",
        "show_title": f"Show {show}",
        "show_description": None if show == 3 else f"About show {show}",
        "language": (None, "English", "German")[number % 3],
        "categories": "Arts",
        "published_at": None if number % 7 == 0 else datetime(2017, 12, 1, tzinfo=UTC) + timedelta(hours=number),
        "duration_seconds": None if number % 5 == 0 else 60 * number,
        "audio_url": None,
    } | changes
    text = compose_text(row["title"], row["description"], row["show_title"], row["show_description"])
    return {"text": text, "content_hash": content_hash(text)} | row


def table(rows: Iterable[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=EPISODES)


def publish(store: ArtifactStore, rows: Iterable[Row], *, shards: int = 3, source: str = "v1") -> snapshot.Manifest:
    """Write a snapshot of some episodes and make it the latest."""
    manifest = snapshot.write(store, table(rows), source_version=source, shards=shards, counts={}, quarantined={})
    return snapshot.publish(store, manifest.snapshot_id)
