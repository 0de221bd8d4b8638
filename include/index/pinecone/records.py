"""Records as Pinecone takes them: metadata within its limits, requests within their size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from include.index.contract import Filter, Metadata, Period, Records

REQUEST_BYTES = 2_000_000
REQUEST_RECORDS = 1_000
"""Pinecone's limits of one upsert: https://docs.pinecone.io/reference/api/database-limits/operation-limits."""

TEXT_BYTES = 1_024
"""Longest text in metadata. Six of them stay below Pinecone's 40 KB a record even if JSON writes each byte as six."""

DECIMALS = 9
"""Of vectors on the wire. A unit vector's values keep all that float32 holds, save those below 0.01, which lose less
than a billionth; JSON takes half the bytes."""

VALUE_BYTES = DECIMALS + len("-0.,")
OVERHEAD_BYTES = 128
"""What JSON adds to a record's id, values and metadata; with room to spare."""

WINDOW_BYTES = 32 * REQUEST_BYTES
"""How much is on its way at a time, which bounds the memory that writing takes."""

TEXTS = ["title", "show_title", "language", "content_hash", "model_version"]


@dataclass
class Window:
    """Records that are written together, by id: the last of an id counts.

    ``rows`` counts all that were put in.
    """

    items: dict[str, tuple[str, Any, dict[str, Any]]] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0
    largest: int = 1

    def add(self, batch: Records) -> None:
        values = np.round(batch.values.astype(np.float64), DECIMALS)
        vector_bytes = values.shape[1] * VALUE_BYTES + OVERHEAD_BYTES
        for key, value, metadata in zip(batch.ids, values, batch.metadata, strict=True):
            packed = pack(metadata)
            size = len(key) + vector_bytes + len(json.dumps(packed, ensure_ascii=False).encode())
            self.items[key] = (key, value, packed)
            self.bytes += size
            self.largest = max(self.largest, size)
        self.rows += len(batch.ids)

    @property
    def batch_size(self) -> int:
        """How many of these records fit into one request."""
        return max(1, min(REQUEST_RECORDS, (REQUEST_BYTES - OVERHEAD_BYTES) // self.largest))


def windows(batches: Iterable[Records], *, size: int = WINDOW_BYTES) -> Iterator[Window]:
    """Batches joined until there are ``size`` bytes of them."""
    window = Window()
    for batch in batches:
        window.add(batch)
        if window.bytes >= size:
            yield window
            window = Window()
    if window.rows:
        yield window


def pack(metadata: Metadata) -> dict[str, str | int]:
    """Metadata as Pinecone keeps it: what is not known is left out, dates are seconds since 1970."""
    packed: dict[str, str | int] = {name: cut(text) for name in TEXTS if (text := getattr(metadata, name)) is not None}
    if metadata.published_at is not None:
        packed["published_at"] = int(metadata.published_at.timestamp())
    return packed


def unpack(packed: Mapping[str, Any]) -> Metadata:
    """Metadata as it was packed."""
    published = packed.get("published_at")
    return Metadata(
        title=packed.get("title", ""),
        show_title=packed.get("show_title", ""),
        language=packed.get("language"),
        published_at=None if published is None else datetime.fromtimestamp(published, UTC),
        content_hash=packed.get("content_hash", ""),
        model_version=packed.get("model_version", ""),
    )


def cut(text: str) -> str:
    """A text of at most :data:`TEXT_BYTES` bytes in UTF-8, cut between characters."""
    return text.encode("utf-8", "replace")[:TEXT_BYTES].decode("utf-8", "ignore")


def expression(wanted: Filter | None) -> dict[str, dict[str, str | float]] | None:
    """A filter in Pinecone's language; texts are cut as they are when they are kept.

    :raises ValueError: there is no such metadata, or it is no text or no period.
    """
    return {name: _condition(name, value) for name, value in wanted.items()} if wanted else None


def _condition(name: str, wanted: str | Period) -> dict[str, str | float]:
    if name in TEXTS and isinstance(wanted, str):
        return {"$eq": cut(wanted)}
    if name == "published_at" and isinstance(wanted, Period):
        limits = (("$gte", wanted.since), ("$lt", wanted.until))
        return {sign: moment.timestamp() for sign, moment in limits if moment}
    raise ValueError(
        f"There is no filter by {name!r} and {wanted!r}: {', '.join(TEXTS)} take a text, published_at a Period."
    )
