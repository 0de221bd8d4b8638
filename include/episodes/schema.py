"""The Episode contract: the columns of a prepared episode, and how it becomes the text that is embedded."""

from __future__ import annotations

import hashlib

import pyarrow as pa

SCHEMA_VERSION = 2
"""Raise it when preparation changes what it writes, so that an unchanged source is prepared again."""

EPISODES = pa.schema(
    [
        pa.field("episode_id", pa.string(), nullable=False),
        pa.field("podcast_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("description", pa.string()),
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

MAX_TEXT_CHARS = 20_000
"""A description longer than this after cleaning is cut."""
AROUND = " .!?…"
"""Characters around a field that do not change its meaning."""
FULL_STOPS = ".!?…:;。！？"
"""A field that ends in one of these gets no full stop."""
START_CHARS = 8

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

WARNINGS = (
    "bad_date",
    "empty_date",
    "bad_audio_length",
    "without_description",
    "description_cut",
    "shows_without_description",
    "episodes_without_show_description",
)
"""What is odd about episodes (and shows) that can be found all the same, and so are kept and counted."""
IN_HTML = "description_in_html"
"""Counted, too, and nothing odd: descriptions with a ``<`` in them."""


def compose_text(title: str, description: str | None, show_title: str, show_description: str | None) -> str:
    """Join the four fields as the recipe does (``title. description. show title. show description``).

    A field that is empty, or that only repeats an earlier one, is left out; a field that ends in punctuation gets no
    second full stop.
    An empty ``title`` gives the text with the title held out.
    """
    given = (title, description or "", show_title, show_description or "")
    fields = [stripped for field in given if (stripped := field.strip())]
    starts = [start_of(field.strip(AROUND)) for field in fields]
    if "" in starts or len(set(starts)) < len(starts):  # only then can a field be empty or repeat another
        kept: dict[str, str] = {}
        for field in fields:
            kept.setdefault(field.strip(AROUND).casefold(), field)
        kept.pop("", None)
        fields = list(kept.values())
    return " ".join([field if field[-1] in FULL_STOPS else field + "." for field in fields])


def start_of(stripped: str) -> str:
    """The start of a field without regard to case: two fields of which this differs do not say the same.

    :param stripped: the field without :data:`AROUND` at its ends, or its first :data:`START_CHARS` characters.
    """
    # Each character is folded to one or more, whatever stands beside it: so the start of a text gives its own start.
    return stripped[:START_CHARS].casefold()[:START_CHARS]


def content_hash(text: str) -> str:
    """Name of a text: what has the same hash never needs to be embedded twice by one model."""
    return hash_of_bytes(text.encode("utf-8", "surrogatepass"))


def hash_of_bytes(text: bytes | memoryview) -> str:
    """The same of a text in UTF-8, for who has it at hand: 24 hexadecimal digits of SHA-256."""
    sha = hashlib.sha256(text)
    sha.update(b"\x00")  # as include.storage.digest, which ends each value so
    return sha.hexdigest()[:24]


def shard_of(podcast_id: str, shards: int) -> int:
    """The shard of a show, the same in every process and version (SHA-256, not Python's seeded hash)."""
    return int.from_bytes(hashlib.sha256(podcast_id.encode()).digest()[:8], "big") % shards
