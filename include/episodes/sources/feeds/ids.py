"""What identifies a feed and an episode."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

PODCAST_NAMESPACE = uuid.UUID("ead4c236-bf58-58c6-a2c6-a6b28d128cb6")
"""Namespace of the ids that the podcast namespace's ``guid`` tag derives from feed addresses."""


def feed_id(address: httpx.URL) -> str:
    """Id of the feed at an address, the same for http and https, with or without a slash at the end.

    A UUID of version 5, made as the podcast namespace says for its ``guid`` tag
    (https://podcasting2.org/docs/podcast-namespace/tags/guid), as 32 hexadecimal digits.
    """
    port = f":{address.port}" if address.port else ""
    place = f"{address.raw_host.decode()}{port}{address.raw_path.decode()}"
    return uuid.uuid5(PODCAST_NAMESPACE, place.rstrip("/")).hex


def episode_id(feed: str, guid: str) -> str:
    """Id of an episode from its feed's id and its guid in that feed: a UUID of version 5 as 32 hexadecimal digits."""
    return uuid.uuid5(uuid.UUID(feed), guid).hex
