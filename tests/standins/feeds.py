"""A server of podcast feeds, over real HTTP on a free port, with everything that such servers do wrong."""

from __future__ import annotations

import gzip
import ssl
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from tests.standins.serving import Server, serving

NAMESPACES = (
    'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" xmlns:content="http://purl.org/rss/1.0/modules/content/"'
)


@dataclass
class Item:
    """An episode in a feed.

    :param audio: address of the enclosure, empty for none (default: one that follows from the guid).
    :param extra: markup that goes in as it is.
    """

    title: str = "An episode"
    guid: str = ""
    description: str = "What it is about"
    date: str = "Mon, 06 Nov 2023 10:00:00 -0500"
    audio: str | None = None
    duration: str = "1:02:03"
    extra: str = ""

    def xml(self) -> str:
        guid = f'<guid isPermaLink="false">{escape(self.guid)}</guid>' if self.guid else ""
        address = f"https://cdn.example/{self.guid or 'episode'}.mp3" if self.audio is None else self.audio
        audio = f'<enclosure url={quoteattr(address)} length="1" type="audio/mpeg"/>' if address else ""
        return (
            f"<item><title>{escape(self.title)}</title>{guid}<description>{escape(self.description)}</description>"
            f"<pubDate>{self.date}</pubDate>{audio}<itunes:duration>{self.duration}</itunes:duration>{self.extra}</item>"
        )


def rss(items: Iterable[Item], *, title: str = "A show", extra: str = "") -> bytes:
    """A feed; ``extra`` is markup of the channel that goes in as it is."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0" {NAMESPACES}><channel>'
        f"<title>{escape(title)}</title>"
        f"<link>https://show.example/</link><language>en-us</language><description>All about it</description>{extra}"
        + "\n".join(item.xml() for item in items)
        + "</channel></rss>\n"
    ).encode()


@dataclass(frozen=True)
class Seen:
    """One request as it came in."""

    host: str
    path: str
    headers: dict[str, str]


Page = Callable[["Handler"], None]
"""Answers one request."""


@dataclass
class FeedsStandIn:
    """The server. ``pages`` says what is at each path; ``requests`` is what it was asked; anything else is 404."""

    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[Seen] = field(default_factory=list)
    port: int = 0
    most_at_once: Counter[str] = field(default_factory=Counter)
    """The most requests that were open at one time, of each host and (under ``*``) of all."""

    def __post_init__(self) -> None:
        self._open: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()

    @contextmanager
    def serve(self, *, tls: ssl.SSLContext | None = None) -> Iterator[FeedsStandIn]:
        """Answer until the end of the block, over TLS if there is a context for it."""
        with serving(Handler, server=_Server, tls=tls, feeds=self) as self.port:
            yield self

    def url(self, path: str, *, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def asked(self, path: str) -> list[Seen]:
        """The requests for a path."""
        return [seen for seen in self.requests if seen.path == path]

    @contextmanager
    def note(self, seen: Seen) -> Iterator[None]:
        with self._lock:
            self.requests.append(seen)
            for key in (seen.host, "*"):
                self._open[key] += 1
                self.most_at_once[key] = max(self.most_at_once[key], self._open[key])
        try:
            yield
        finally:
            with self._lock:
                for key in (seen.host, "*"):
                    self._open[key] -= 1


def feed(body: bytes, *, etag: str = "", modified: str = "", packed: bool = False, **headers: str) -> Page:
    """A good feed that answers 304 to whom has it already.

    :param packed: compress it for clients that accept gzip.
    :param headers: further ones, with ``_`` for ``-``.
    """
    validators = {name: value for name, value in (("ETag", etag), ("Last-Modified", modified)) if value}
    others = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(handler: Handler) -> None:
        known = (
            handler.headers["If-None-Match"] == etag
            if handler.headers["If-None-Match"] and etag
            else bool(modified) and handler.headers["If-Modified-Since"] == modified
        )
        if known:
            handler.reply(304, headers=validators)
        elif packed and "gzip" in handler.headers.get("Accept-Encoding", ""):
            handler.reply(200, gzip.compress(body), {"Content-Encoding": "gzip", **validators, **others})
        else:
            handler.reply(200, body, {"Content-Type": "application/rss+xml", **validators, **others})

    return answer


def status(code: int, body: bytes = b"no", **headers: str) -> Page:
    """An answer without a feed, with headers (``_`` for ``-``)."""
    return lambda handler: handler.reply(code, body, {name.replace("_", "-"): value for name, value in headers.items()})


def redirect(to: str, code: int = 302) -> Page:
    return status(code, Location=to)


def in_turn(*pages: Page) -> Page:
    """One page after the other; the last one stays."""
    left = list(pages)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


def cut(body: bytes, at: int) -> Page:
    """Promises a whole feed and hangs up after some bytes of it."""

    def answer(handler: Handler) -> None:
        handler.start(200, {"Content-Length": str(len(body))})
        handler.wfile.write(body[:at])
        handler.close_connection = True

    return answer


def unframed(body: bytes) -> Page:
    """A feed without a length: only the end of the connection says that it is over."""

    def answer(handler: Handler) -> None:
        handler.start(200, {"Connection": "close"})
        handler.wfile.write(body)
        handler.close_connection = True

    return answer


def drip(body: bytes, *, pause: float, headers_too: bool = False) -> Page:
    """A feed byte by byte: no single wait is long, all of them are."""

    def answer(handler: Handler) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        slow = head + body if headers_too else body
        if not headers_too:
            handler.wfile.write(head)
        for byte in slow:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(pause)

    return answer


def endless(start: bytes = b"", **headers: str) -> Page:
    """A feed that never stops.

    :param start: what it begins with.
    :param headers: further ones, with ``_`` for ``-``.
    """

    def answer(handler: Handler) -> None:
        handler.start(
            200, {"Connection": "close", **{name.replace("_", "-"): value for name, value in headers.items()}}
        )
        handler.wfile.write(start)
        while True:
            handler.wfile.write(b"<item><title>more</title></item>" * 1_000)

    return answer


def bomb(mebibytes: int) -> Page:
    """A small answer that unpacks to very much."""
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * 2**20
    packed = b"".join([*(packer.compress(block) for _ in range(mebibytes)), packer.flush()])
    return lambda handler: handler.reply(200, packed, {"Content-Encoding": "gzip"})


def slow(page: Page, seconds: float) -> Page:
    def answer(handler: Handler) -> None:
        time.sleep(seconds)
        page(handler)

    return answer


class _Server(Server):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    feeds: FeedsStandIn

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").partition(":")[0]
        seen = Seen(host, self.path, {name.lower(): value for name, value in self.headers.items()})
        with self.feeds.note(seen), suppress(ConnectionError):
            self.feeds.pages.get(self.path, status(404))(self)
            self.wfile.flush()

    def reply(self, code: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.start(code, {"Content-Length": str(len(body)), **(headers or {})} if code != 304 else headers or {})
        if code != 304:
            self.wfile.write(body)

    def start(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the output of the tests clean."""
