"""Which columns the dataset's files have."""

from __future__ import annotations

COLUMNS: dict[str, tuple[str, ...]] = {
    "podcasts": ("uuid", "title", "image", "description", "language", "categories", "website", "author", "itunes_id"),
    "episodes": ("uuid", "title", "audio", "audio_length", "pub_date", "description", "podcast_uuid"),
}
"""The columns of ``<name>.csv`` that podsearch knows; a file may have more, in any order."""
