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

TEXTS = ["title", "show_title", "language", "content_hash", "model_version"]

_encode = json.JSONEncoder(ensure_ascii=False).encode


@dataclass
class Request:
    """Records of one upsert, by id: the last of an id counts.

    ``rows`` counts all that were put in; ``bytes`` is the most that they can take.
    """

    items: dict[str, tuple[str, Any, dict[str, str | int]]] = field(default_factory=dict)
    rows: int = 0
    bytes: int = OVERHEAD_BYTES

    def takes(self, size: int) -> bool:
        """Whether one more record fits, which takes so many bytes."""
        return not self.rows or (len(self.items) < REQUEST_RECORDS and self.bytes + size <= REQUEST_BYTES)


def requests(batches: Iterable[Records]) -> Iterator[Request]:
    """Batches joined and divided into as few requests as Pinecone's limits allow, in their order."""
    request = Request()
    for batch in batches:
        values = np.round(batch.values.astype(np.float64), DECIMALS)
        vector_bytes = values.shape[1] * VALUE_BYTES + OVERHEAD_BYTES
        for key, value, metadata in zip(batch.ids, values, batch.metadata, strict=True):
            packed = pack(metadata)
            size = len(key) + vector_bytes + len(_encode(packed).encode())
            if not request.takes(size):
                yield request
                request = Request()
            request.items[key] = (key, value, packed)
            request.rows += 1
            request.bytes += size
    if request.rows:
        yield request


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
    if len(text) <= TEXT_BYTES and text.isascii():
        return text
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
