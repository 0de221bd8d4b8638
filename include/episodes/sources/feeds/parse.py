"""From the bytes of a feed to a show and its episodes, in the columns of the Kaggle dataset's files.

feedparser reads them: it knows the dialects (RSS 0.9 to 2.0, Atom), repairs what is not quite XML, drops dangerous
entity declarations and never fetches anything itself. Its own cleaning of HTML is switched off: preparation cleans the
descriptions of every source alike. What it makes of a hostile feed can take minutes: see ``parsers.py``.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import feedparser
from babel import Locale

from include.episodes.sources.feeds.failure import FeedError, Reason
from include.episodes.sources.feeds.ids import episode_id
from include.episodes.times import parse_date, parse_duration

PARSER_VERSION = 4
"""Raise it when the same bytes give different rows: every feed is then fetched and read again."""

MAX_TEXT = 200_000
"""Characters of a field that are kept: preparation cuts descriptions much shorter."""
MAX_SHORT = 2_000
"""The same for titles, names and addresses."""
MAX_CATEGORIES = 20

_ITUNES = "http://www.itunes.com/"
_KEYWORDS = re.compile(rb"<itunes:keywords>[^<]*(?:<!\[CDATA\[[^\]]*\]\]>)?[^<]*</itunes:keywords>")
"""Free words that feedparser would put among the categories."""
_END = re.compile(rb"</\s*(?:rss|feed|rdf:RDF)\s*>", re.IGNORECASE)
_ITEM = re.compile(rb"<(?:item|entry)[\s>]", re.IGNORECASE)
_ITEM_END = re.compile(rb"</\s*(?:item|entry)\s*>", re.IGNORECASE)
_BARE_AMPERSAND = re.compile(
    rb"(<!\[CDATA\[.*?(?:\]\]>|\Z))|&(?!#[0-9]+;|#x[0-9a-f]+;|[a-z][a-z0-9]{1,31};)", re.IGNORECASE | re.DOTALL
)
_HTML = re.compile(rb"^\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,2000}?-->\s*)*(?:<!doctype\s+html|<html)", re.I | re.S)
_DECLARED_ENCODING = re.compile(rb"^\s*<\?xml[^>]*\sencoding\s*=", re.IGNORECASE)
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_SAME_LANGUAGE = {"nb": "no", "nn": "no", "iw": "he", "in": "id", "ji": "yi"}
"""Codes that the dataset's names do not tell apart, and codes of old."""


@dataclass(frozen=True)
class Parsed:
    """A feed as read.

    :param show: a row of ``podcasts.csv`` without its ``uuid``.
    :param episodes: rows of ``episodes.csv`` without ``podcast_uuid``, by ``uuid``.
    :param repeated: items left out because an earlier one is the same, or that have nothing to be known by.
    :param no_audio: items left out because they have no enclosure: posts, not episodes.
    :param torn: items left out because their text is never closed: they would be read without what follows it.
    :param flaw: what had to be repaired, or empty.
    :param moved_to: where the feed says that it has moved for good, or empty.
    :param older: where the feed says that its older episodes are (RFC 5005, ``rel="next"``), or empty.
    """

    show: dict[str, str]
    episodes: dict[str, dict[str, str]]
    repeated: int = 0
    no_audio: int = 0
    torn: int = 0
    flaw: str = ""
    moved_to: str = ""
    older: str = ""


def parse_feed(body: bytes, *, feed_id: str, address: str, charset: str = "") -> Parsed:
    """Read a feed.

    :param feed_id: the ids of episodes follow from it and from their guids.
    :param address: where the feed came from; relative links start there.
    :param charset: the encoding that the server named. It counts only where the bytes are not UTF-8 and the feed does
        not name its own, because servers are wrong about it more often than feeds are.
    :raises FeedError: there is nothing in it to use.
    """
    if not body.strip():
        raise FeedError(Reason.EMPTY)
    if _HTML.match(body[:4_096]):
        raise FeedError(Reason.WEB_PAGE, "a web page (HTML), not a feed")
    document, torn = _read(body, charset), 0
    flaw = _short(document.get("bozo_exception"))
    if flaw:
        body, torn = _without_torn_items(body)
        # As it is, feedparser would make "R&B;" of "R&B", and a "©" of "&copy=1" in an address.
        escaped = _BARE_AMPERSAND.sub(lambda found: found[1] or b"&amp;", body) if b"\x00" not in body else body
        document = _read(escaped, charset) if torn or escaped != body else document
    if not document.get("version"):
        raise FeedError(Reason.NOT_A_FEED, flaw)
    if flaw and not _END.search(body[-2_048:]):
        # It was read up to where it breaks off. Its last item may be half an item, which must not replace a whole one.
        raise FeedError(Reason.CUT_SHORT, f"the feed ends in the middle ({flaw})")
    if not document.entries:
        raise FeedError(Reason.NO_ITEMS, "the only item is torn" if torn else "")
    entries = [entry for entry in document.entries if _enclosure(entry)]
    no_audio = len(document.entries) - len(entries)
    if not entries:
        raise FeedError(Reason.NO_ITEMS, f"none of its {no_audio:,} items has an enclosure: they are posts")
    episodes: dict[str, dict[str, str]] = {}
    for guid, entry in zip(_names(entries), entries, strict=True):
        episodes.setdefault(episode_id(feed_id, guid), _episode(entry, address))
    return Parsed(
        show=_show(document.feed, address),
        episodes=episodes,
        repeated=len(entries) - len(episodes),
        no_audio=no_audio,
        torn=torn,
        flaw=flaw,
        moved_to=_web(address, document.feed.get("itunes_new-feed-url")),
        older=_older(document.feed, address),
    )


def _without_torn_items(body: bytes) -> tuple[bytes, int]:
    """The feed without items whose CDATA is not closed before they end, and how many those are.

    feedparser would read such an item without all that follows: without its enclosure, and with the next items in its
    description. To be asked only of a feed that is not well-formed: in one that is, CDATA may hold what it likes.
    """
    kept, done, place, torn = [], 0, 0, 0
    while (start := body.find(b"<![CDATA[", place)) >= 0:
        closed = body.find(b"]]>", start)
        end = _ITEM_END.search(body, start, closed if closed >= 0 else len(body))
        begins = [match.start() for match in _ITEM.finditer(body, done, start)] if end else []
        if end and begins:
            kept.append(body[done : begins[-1]])
            done = place = end.end()
            torn += 1
        elif closed < 0:
            break
        else:
            place = closed + 3
    return b"".join([*kept, body[done:]]), torn


def _read(body: bytes, charset: str) -> Any:
    try:
        return feedparser.parse(
            io.BytesIO(_KEYWORDS.sub(b"", body)),  # never a string: feedparser would take one for an address or a file
            response_headers=_headers(body, charset),
            resolve_relative_uris=False,
            sanitize_html=False,
        )
    except MemoryError:
        raise FeedError(Reason.PARSER_LIMIT, "reading it took more memory than a feed may take") from None
    except Exception as error:  # feedparser trips over some malformed feeds with whatever its code meets
        raise FeedError(Reason.NOT_A_FEED, f"cannot be read ({type(error).__name__}: {error})"[:200]) from error


def _headers(body: bytes, charset: str) -> dict[str, str]:
    if not charset or _DECLARED_ENCODING.match(body[:1_024]):
        return {}
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return {"content-type": f"application/xml; charset={charset}"}
    return {}


def _older(feed: Any, address: str) -> str:
    """The next of the pages that the feed is spread over, each with older episodes than the one before."""
    return next((_web(address, link.get("href")) for link in feed.get("links", ()) if link.get("rel") == "next"), "")


def _show(feed: Any, address: str) -> dict[str, str]:
    return {
        "title": _short(feed.get("title")),
        "image": _web(address, (feed.get("image") or {}).get("href")),
        "description": _longest(feed.get("summary"), feed.get("subtitle")),
        "language": _language(feed.get("language")),
        "categories": _categories(feed),
        "website": _web(address, feed.get("link")),
        "author": _short(feed.get("author")),
        "itunes_id": "",
    }


def _episode(entry: Any, address: str) -> dict[str, str]:
    contents = (content.get("value") for content in entry.get("content", ()))
    return {
        "title": _short(entry.get("title")) or _short(entry.get("itunes_title")),
        "audio": _web(address, _enclosure(entry)),
        "audio_length": _seconds(entry.get("itunes_duration")),
        "pub_date": _date(entry),
        "description": _longest(*contents, entry.get("summary"), entry.get("subtitle")),
    }


def _names(entries: Sequence[Any]) -> list[str]:
    """What each item is known by: its guid, unless the feed gives it to several episodes; then the enclosure, too."""
    guids = [_guid(entry) for entry in entries]
    different: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for guid, entry in zip(guids, entries, strict=True):
        different[guid].add((_short(_enclosure(entry)), _short(entry.get("title"))))
    shared = {
        guid
        for guid, items in different.items()
        if min(len({audio for audio, _ in items}), len({title for _, title in items})) > 1
    }
    return [
        f"{guid}\n{_short(_enclosure(entry))}" if guid in shared else guid
        for guid, entry in zip(guids, entries, strict=True)
    ]


def _guid(entry: Any) -> str:
    """The item's guid, or else the address of its enclosure."""
    return _short(entry.get("id")) or _short(_enclosure(entry))


def _enclosure(entry: Any) -> str | None:
    """Address of the first enclosure that is audio, else of the first one that is no picture."""
    links = [link for link in entry.get("links", ()) if link.get("rel") == "enclosure" and link.get("href")]
    enclosures = [link for link in links if not _is(link, "image")]
    audio = [link for link in enclosures if _is(link, "audio")]
    return str((audio or enclosures)[0]["href"]) if enclosures else None


def _is(link: Any, kind: str) -> bool:
    return str(link.get("type", "")).lower().startswith(f"{kind}/")


def _categories(feed: Any) -> str:
    """The show's categories as the dataset writes them: ``Sports & Recreation | Amateur``."""
    tags = feed.get("tags", ())
    itunes = [tag for tag in tags if tag.get("scheme") == _ITUNES]
    terms = [_short(tag.get("term")).replace("|", "/") for tag in itunes or tags]
    kept = [term for term in dict.fromkeys(terms) if term]
    return " | ".join(kept[:MAX_CATEGORIES])


def _language(code: Any) -> str:
    """The English name of a language, as the dataset has it, from a code such as ``en-us``; empty if unknown."""
    primary = re.split("[-_ ]", _short(code).lower(), maxsplit=1)[0]
    return str(Locale("en").languages.get(_SAME_LANGUAGE.get(primary, primary), ""))


def _seconds(duration: Any) -> str:
    """A duration in seconds; one that cannot be read stays for preparation to count."""
    text = _short(duration)
    return text if (seconds := parse_duration(text)) is None else str(seconds)


def _date(entry: Any) -> str:
    """The date in UTC as the dataset writes it; one that cannot be read stays for preparation to count.

    feedparser's own reading takes ``9:05 PM`` for the morning and makes dates up, so it is not asked.
    """
    given = (_short(entry[name]) for name in ("published", "updated") if name in entry)
    text = next(filter(None, given), "")
    return f"{date:%Y-%m-%d %H:%M:%S}+00" if (date := parse_date(text)) else text


def _web(base: str, link: Any) -> str:
    """A link as a whole http or https address, or empty."""
    text = _short(link)
    try:
        address = urljoin(base, text) if text else ""
    except ValueError:
        return ""
    return address if address.lower().startswith(("http://", "https://")) else ""


def _longest(*texts: Any) -> str:
    """The longest of several descriptions: feeds have a line, a summary and the whole notes, under many names."""
    return max((_plain(text)[:MAX_TEXT] for text in texts), key=len, default="")


def _short(text: Any) -> str:
    return " ".join(_plain(text)[: 2 * MAX_SHORT].split())[:MAX_SHORT]


def _plain(text: Any) -> str:
    """Text that a CSV file in UTF-8 can hold."""
    return _UNPRINTABLE.sub("", str(text)).strip() if text else ""
