"""The Episode contract: the columns of a prepared episode, and how it becomes the text that is embedded."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from include.storage import digest

SCHEMA_VERSION = 1
"""Raise it when preparation changes what it writes, so that an unchanged source is prepared anew."""

EPISODES = pa.schema(
    [
        pa.field("episode_id", pa.string(), nullable=False),
        pa.field("podcast_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("description", pa.string(), nullable=False),
        pa.field("show_title", pa.string(), nullable=False),
        pa.field("show_description", pa.string()),
        pa.field("language", pa.string()),
        pa.field("categories", pa.string()),
        pa.field("published_at", pa.timestamp("s", tz="UTC")),
        pa.field("duration_seconds", pa.int32()),
        pa.field("audio_url", pa.string()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
    ]
)

QUARANTINE = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64()),
        pa.field("key", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
        pa.field("raw", pa.string()),
    ]
)
"""A row of a dataset file that cannot be used: where it stood (1-based, header not counted), why, and what it was."""


def compose_text(title: str, description: str, show_title: str, show_description: str | None) -> str:
    """Join the four fields as the recipe does (``title. description. show title. show description``).

    A field that is empty, or that only repeats an earlier one, is left out; a field that ends in punctuation gets no
    second full stop.
    An empty ``title`` gives the text with the title held out.
    """
    kept: list[str] = []
    seen: set[str] = set()
    for field in (title, description, show_title, show_description or ""):
        key = field.casefold().strip(" .!?…")
        if key and key not in seen:
            seen.add(key)
            kept.append(field.strip())
    return " ".join(field if field[-1] in ".!?…:;。！？" else field + "." for field in kept)


def content_hash(text: str) -> str:
    """Name of a text: what has the same hash never needs to be embedded twice by one model."""
    return digest(text, length=24)


def shard_of(podcast_id: str, shards: int) -> int:
    """The shard of a show, the same in every process and version (SHA-256, not Python's seeded hash)."""
    return int.from_bytes(hashlib.sha256(podcast_id.encode()).digest()[:8], "big") % shards
