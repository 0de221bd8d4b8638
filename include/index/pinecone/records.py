"""Records as Pinecone takes them: metadata within its limits, requests within their size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from pinecone import Vector

from include.errors import PermanentError
from include.index.contract import Filter, Length, Metadata, Period, Records, Stored

REQUEST_BYTES = 2_000_000
REQUEST_RECORDS = 1_000
"""Pinecone's limits of one upsert: https://docs.pinecone.io/reference/api/database-limits/operation-limits."""

TEXT_BYTES = 1_024
"""Longest text in metadata. Six of them stay below Pinecone's 40 KB a record even if JSON writes each byte as six."""

DECIMALS = 7
"""Of vectors on the wire. Cosines of unit vectors change by some 3e-8, less than float32 rounds them by; JSON takes
half the bytes."""

OVERHEAD_BYTES = 128
"""What JSON adds to a record's id, values and metadata, and to a request's records; with room to spare."""

TEXTS = ["title", "show_title", "language", "content_hash", "model_version"]


@dataclass
class Request:
    """Records of one upsert, by id: the last of an id counts.

    ``rows`` counts all that were put in; ``bytes`` is the most that they can take.
    """

    items: dict[str, Vector] = field(default_factory=dict)
    rows: int = 0
    bytes: int = OVERHEAD_BYTES

    def takes(self, size: int) -> bool:
        """Whether one more record fits, which takes so many bytes."""
        return not self.rows or (len(self.items) < REQUEST_RECORDS and self.bytes + size <= REQUEST_BYTES)

    def stored(self, key: str) -> Stored:
        """What is stored once the request is done."""
        vector = self.items[key]
        values = orjson.loads(orjson.dumps(vector.values))
        return Stored(np.asarray(values, np.float32), unpack(vector.metadata or {}))


def requests(batches: Iterable[Records]) -> Iterator[Request]:
    """Batches joined and divided into as few requests as Pinecone's limits allow, in their order.

    :raises PermanentError: an id is none that Pinecone takes.
    """
    request = Request()
    for batch in batches:
        values = np.round(np.ascontiguousarray(batch.values, np.float32), DECIMALS)
        for key, value, metadata in zip(batch.ids, values, batch.metadata, strict=True):
            if not key.isascii() or "\0" in key:
                raise PermanentError(f"Pinecone takes ids of ASCII characters only, and not {key!r}.")
            # Numbers that are JSON already, which the client puts into its request as they are: that takes half the
            # time of lists, and a third of their memory.
            numbers = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
            packed = pack(metadata)
            size = len(key) + len(numbers) + len(orjson.dumps(packed)) + OVERHEAD_BYTES
            if not request.takes(size):
                yield request
                request = Request()
            as_they_are: Any = orjson.Fragment(numbers)
            request.items[key] = Vector(key, as_they_are, metadata=packed)
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


def _condition(name: str, wanted: str | Period | Length) -> dict[str, str | float]:
    if name in TEXTS and isinstance(wanted, str):
        return {"$eq": cut(wanted)}
    if name == "published_at" and isinstance(wanted, Period):
        limits = (("$gte", wanted.since), ("$lt", wanted.until))
        return {sign: moment.timestamp() for sign, moment in limits if moment}
    raise ValueError(
        f"There is no filter by {name!r} and {wanted!r}: {', '.join(TEXTS)} take a text, published_at a Period."
    )
