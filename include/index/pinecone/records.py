"""Records as Pinecone takes them: texts within its limits, requests within their size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from include.errors import PermanentError
from include.index.contract import TEXT_FILTERS, Filter, Length, Metadata, Period, Records, Stored, no_filter
from include.index.pinecone.words import SEARCHED_CHARACTERS, encodable, searched

REQUEST_BYTES = 2_000_000
REQUEST_RECORDS = 1_000
"""Pinecone's limits of one upsert: https://docs.pinecone.io/reference/api/database-limits/operation-limits."""

TEXT_BYTES = {
    "title": 1_024,
    "show_title": 1_024,
    "categories": 1_024,
    "language": 256,
    "podcast_id": 512,
    "content_hash": 256,
    "model_version": 256,
    "audio_url": 2_048,
}
"""Longest other texts, in UTF-8. All together stay below Pinecone's 40 KB a record even if JSON writes each byte as
six."""

DECIMALS = 7
"""Of vectors on the wire. Cosines of unit vectors change by some 3e-8, less than float32 rounds them by; JSON takes
half the bytes."""

OVERHEAD_BYTES = 128
"""What JSON adds to a record's id, values and metadata, and to a request's records; with room to spare."""

VECTOR, WORDS, DESCRIPTION = "vector", "words", "description"
"""What an index of documents is declared with; ``words`` joins all texts that are searched."""

SHOWN = [field.name for field in fields(Metadata)]


@dataclass
class Request:
    """Documents of one upsert, by id: the last of an id counts.

    ``rows`` counts all that were put in; ``bytes`` is the most that they can take.
    """

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: int = 0
    bytes: int = OVERHEAD_BYTES

    def takes(self, size: int) -> bool:
        """Whether one more record fits, which takes so many bytes."""
        return not self.rows or (len(self.items) < REQUEST_RECORDS and self.bytes + size <= REQUEST_BYTES)

    def stored(self, key: str) -> Stored:
        """What is stored once the request is done."""
        document = self.items[key]
        values = orjson.loads(orjson.dumps(document[VECTOR]))
        return Stored(np.asarray(values, np.float32), unpack(document))


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
            packed[WORDS] = searched(metadata)
            size = len(key) + len(numbers) + len(orjson.dumps(packed)) + OVERHEAD_BYTES
            if not request.takes(size):
                yield request
                request = Request()
            request.items[key] = {"_id": key, VECTOR: orjson.Fragment(numbers), **packed}
            request.rows += 1
            request.bytes += size
    if request.rows:
        yield request


def pack(metadata: Metadata) -> dict[str, str | int]:
    """Metadata as Pinecone keeps it: what is not known is left out, dates are seconds since 1970."""
    packed: dict[str, str | int] = {
        name: cut(text, limit) for name, limit in TEXT_BYTES.items() if (text := getattr(metadata, name)) is not None
    }
    if metadata.description is not None:
        packed[DESCRIPTION] = encodable(metadata.description[:SEARCHED_CHARACTERS])
    if metadata.audio_url is not None and packed["audio_url"] != metadata.audio_url:
        del packed["audio_url"]  # a part of an address leads nowhere
    if metadata.published_at is not None:
        packed["published_at"] = int(metadata.published_at.timestamp())
    if metadata.duration_seconds is not None:
        packed["duration_seconds"] = metadata.duration_seconds
    return packed


def unpack(packed: Mapping[str, Any]) -> Metadata:
    """Metadata as it was packed."""
    published, duration = packed.get("published_at"), packed.get("duration_seconds")
    return Metadata(
        title=packed.get("title", ""),
        show_title=packed.get("show_title", ""),
        language=packed.get("language"),
        published_at=None if published is None else datetime.fromtimestamp(published, UTC),
        content_hash=packed.get("content_hash", ""),
        model_version=packed.get("model_version", ""),
        podcast_id=packed.get("podcast_id", ""),
        description=packed.get(DESCRIPTION),
        categories=packed.get("categories"),
        duration_seconds=None if duration is None else int(duration),  # Pinecone's numbers are floats
        audio_url=packed.get("audio_url"),
    )


def cut(text: str, limit: int) -> str:
    """A text of at most so many bytes in UTF-8, cut between characters."""
    if len(text) <= limit and text.isascii():
        return text
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


Expression = dict[str, dict[str, str | float]]


def expression(wanted: Filter | None) -> Expression | None:
    """A filter in Pinecone's language; texts are cut as they are when they are kept.

    :raises ValueError: there is no such metadata, or it is not of the filter's kind.
    """
    return {name: _condition(name, value) for name, value in wanted.items()} if wanted else None


def _condition(name: str, wanted: str | Period | Length) -> dict[str, str | float]:
    if name in TEXT_FILTERS and isinstance(wanted, str):
        return {"$eq": cut(wanted, TEXT_BYTES[name])}
    if name == "published_at" and isinstance(wanted, Period):
        moments = (("$gte", wanted.since), ("$lt", wanted.until))
        return {sign: moment.timestamp() for sign, moment in moments if moment}
    if name == "duration_seconds" and isinstance(wanted, Length):
        bounds = (("$gte", wanted.shortest), ("$lt", wanted.longest))
        return {sign: bound for sign, bound in bounds if bound is not None}
    raise no_filter(name, wanted)
