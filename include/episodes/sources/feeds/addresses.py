"""The list of feeds: reading it (OPML or text), checking its addresses, and showing them without their secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import httpx

from include.episodes.sources.feeds.failure import FeedError, Reason
from include.episodes.sources.feeds.ids import feed_id
from include.errors import PermanentError

MAX_LIST_BYTES = 64 * 2**20
MAX_ADDRESS = 2_000
_COMMENT = re.compile(r"(?:^|\s)#.*")
"""What stands behind a ``#`` without a space before it is part of an address."""


class FeedListError(PermanentError, ValueError):
    """The list of feeds cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Feed:
    """One entry of the list.

    :param feed_id: 32 hexadecimal digits that follow from the address.
    :param address: as written in the list.
    :param title: the list's name for it, or empty.
    """

    feed_id: str
    address: str
    title: str = ""


@dataclass
class FeedList:
    """The list, each feed once. ``refused`` are the entries that are no addresses of feeds, and why."""

    feeds: list[Feed] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    repeated: int = 0


def read_list(path: Path) -> FeedList:
    """Read a list of feeds: OPML, or text with one address per line (empty lines and ``# comments`` are ignored).

    :raises FeedListError: the file is missing, too large, not readable, or lists no feed.
    """
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise FeedListError(f"{path} is too large to be a list of feeds: point PODSEARCH_FEEDS to the list.")
        data = path.read_bytes()
        entries = _opml(data) if _is_xml(data) else _lines(data)
    except OSError as error:
        raise FeedListError(
            f"The list of feeds {path} cannot be read ({error.strerror}): point PODSEARCH_FEEDS to an OPML file, or to "
            "a text file with one feed address per line."
        ) from error
    except (UnicodeDecodeError, expat.ExpatError) as error:
        raise FeedListError(
            f"The list of feeds {path} is neither OPML nor text in UTF-8 ({error}): save it as one of them."
        ) from error
    feeds = _each_once(entries)
    if not feeds.feeds:
        wrong = "".join(f" {shown(address)}: {why}." for address, why in feeds.refused[:1])
        raise FeedListError(
            f"{path} lists no feeds: put feed addresses into it, one per line, or outlines with an xmlUrl (OPML)."
            f"{wrong}"
        )
    return feeds


def check_address(address: str) -> httpx.URL:
    """An address that can be asked for.

    :raises FeedError: it is no http or https address.
    """
    try:
        url = httpx.URL(address)
        host = url.host  # decodes a name like xn--…, and raises if there is nothing to decode
    except (httpx.InvalidURL, ValueError) as error:
        raise FeedError(Reason.BAD_ADDRESS, str(error)) from None
    if url.scheme not in ("http", "https") or not host or len(address) > MAX_ADDRESS:
        raise FeedError(Reason.BAD_ADDRESS, "not an http or https address")
    return url


def shown(address: str) -> str:
    """An address as logs and reports may show it: without user name, password and query, where secrets are kept."""
    place, query, _ = address.partition("?")
    scheme, separator, rest = place.rpartition("://")
    host, slash, path = rest.partition("/")
    text = f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
    return "".join(char for char in text[:300] if char.isprintable()) + ("?…" if query else "")


def _is_xml(data: bytes) -> bool:
    return data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"<", b"\xff\xfe", b"\xfe\xff"))


def _lines(data: bytes) -> list[tuple[str, str]]:
    lines = (_COMMENT.sub("", line).strip() for line in data.decode("utf-8-sig").splitlines())
    return [(line, "") for line in lines if line]


def _opml(data: bytes) -> list[tuple[str, str]]:
    """Address and title of each outline with an ``xmlUrl``, in its order, however deep."""
    entries: list[tuple[str, str]] = []

    def start(_tag: str, attributes: dict[str, str]) -> None:
        folded = {name.lower(): value for name, value in attributes.items()}
        if address := folded.get("xmlurl", "").strip():
            entries.append((address, (folded.get("title") or folded.get("text") or "").strip()[:200]))

    def refuse(*_declaration: object) -> None:
        raise expat.ExpatError("it declares entities, which a list of feeds has no use for")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EntityDeclHandler = refuse
    parser.Parse(data, True)
    return entries


def _each_once(entries: list[tuple[str, str]]) -> FeedList:
    result, seen = FeedList(), set()
    for address, title in entries:
        try:
            key = feed_id(check_address(address))
        except FeedError as error:
            result.refused.append((address[:MAX_ADDRESS], error.detail))
            continue
        if key in seen:
            result.repeated += 1
            continue
        seen.add(key)
        result.feeds.append(Feed(key, address, title))
    return result
