"""Asking for one feed: conditional, bounded in time and size, one request at a time per host."""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Self

import httpx

from include.episodes.sources.feeds.addresses import check_address, shown
from include.episodes.sources.feeds.failure import HOST_TROUBLES, MAX_TROUBLES, FeedError, Reason
from include.episodes.sources.feeds.guard import GuardedTransport

USER_AGENT = "podsearch/0.1"
ACCEPT = "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.8, */*;q=0.1"
MAX_REDIRECTS = 5
CONNECT_SECONDS = 10.0
MAX_VALIDATOR = 1_000
"""Characters of an ETag or a date that are kept: more is no validator."""
DAY = 24 * 3600.0
"""Longest wait that a server is granted, in seconds: the next daily poll asks again."""

_PERMANENT = frozenset({301, 308})
_REDIRECTS = _PERMANENT | {302, 303, 307}
_REFUSALS = frozenset({401, 403, 404})
_THROTTLES = frozenset({429, 503})


@dataclass(frozen=True)
class PollLimits:
    """What one poll, and one feed of it, may take.

    :param connections: most feeds that are asked for at a time.
    :param seconds: from the first byte sent to the last one received, redirects included, waiting for a turn not.
    :param max_bytes: size of a feed, unpacked.
    """

    connections: int = 16
    seconds: float = 30.0
    max_bytes: int = 20 * 2**20


@dataclass(frozen=True)
class Validators:
    """What makes a request conditional, as the server at ``url`` gave it."""

    url: str = ""
    etag: str = ""
    last_modified: str = ""

    def headers_for(self, url: str) -> dict[str, str]:
        """The conditional headers of a request; none for another address than they came from."""
        if url != self.url:
            return {}
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


@dataclass(frozen=True)
class Answer:
    """What a server said.

    :param address: where to ask next time: permanent redirects are followed for good.
    :param body: the feed, unpacked; None when it is not modified.
    :param charset: the encoding that the server names, or empty.
    """

    address: str
    body: bytes | None
    validators: Validators
    charset: str = ""


class FeedClient:
    """Fetches feeds; use it as an asynchronous context manager.

    :param contact: address or mail that the User-Agent names, for whoever runs the feeds' servers.
    """

    def __init__(self, limits: PollLimits, *, allow_private: bool = False, contact: str = "") -> None:
        self.limits = limits
        self.slots = asyncio.Semaphore(limits.connections)
        """To be held while a feed is fetched and handled; given up for as long as it waits for its turn at a host."""
        self._hosts: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._troubles: Counter[str] = Counter()
        self._transport = GuardedTransport(allow_private=allow_private, connections=limits.connections)
        self._headers = {
            "User-Agent": f"{USER_AGENT} (+{contact})" if contact else USER_AGENT,
            "Accept": ACCEPT,
            "Accept-Encoding": "gzip",
        }
        self._timeout = httpx.Timeout(limits.seconds, connect=min(CONNECT_SECONDS, limits.seconds), pool=None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.aclose()

    async def fetch(self, address: str, validators: Validators | None = None) -> Answer:
        """Ask for a feed, following redirects.

        :raises FeedError: there is no usable answer, and why.
        """
        validators = validators or Validators()
        budget = self.limits.seconds
        url, keep, permanent = check_address(address), address, True
        for hops in range(MAX_REDIRECTS + 1):
            async with self._turn(url.host):
                if hops and self._troubles[url.host] >= MAX_TROUBLES:
                    detail = f"not followed to {url.host}, which failed for {MAX_TROUBLES} feeds in a row"
                    raise FeedError(Reason.HOST_PAUSED, detail)
                started = asyncio.get_running_loop().time()
                hop = await self._watched(url, validators, budget)
                budget -= asyncio.get_running_loop().time() - started
            if isinstance(hop, Answer):
                return Answer(keep, hop.body, hop.validators, hop.charset)
            status, url = hop
            permanent = permanent and status in _PERMANENT
            keep = str(url) if permanent else keep
        raise FeedError(Reason.TOO_MANY_REDIRECTS, f"more than {MAX_REDIRECTS}, the last to {shown(str(url))}")

    def forget_troubles(self) -> None:
        """Follow redirects to every host again."""
        self._troubles.clear()

    @asynccontextmanager
    async def _turn(self, host: str) -> AsyncIterator[None]:
        """One request at a time reaches a host. Those that wait keep no other feed from being fetched."""
        lock = self._hosts[host]
        if lock.locked():
            self.slots.release()
            try:
                await lock.acquire()
            finally:
                await self.slots.acquire()
        else:
            await lock.acquire()
        try:
            yield
        finally:
            lock.release()

    async def _watched(self, url: httpx.URL, validators: Validators, seconds: float) -> Answer | tuple[int, httpx.URL]:
        """One request, counting how often a host failed in a row."""
        try:
            hop = await self._hop(url, validators, seconds)
        except FeedError as error:
            if error.reason in HOST_TROUBLES:
                self._troubles[url.host] += 1
            raise
        self._troubles[url.host] = 0
        return hop

    async def _hop(self, url: httpx.URL, validators: Validators, seconds: float) -> Answer | tuple[int, httpx.URL]:
        """One request: an answer, or the status and target of a redirect."""
        try:
            async with asyncio.timeout(seconds), self._request(url, validators) as response:
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    return response.status_code, _target(url, response.headers["location"])
                return await self._answer(url, validators, response)
        except (TimeoutError, httpx.TimeoutException):
            raise FeedError(Reason.TIMEOUT, f"no complete answer within {self.limits.seconds:g} seconds") from None
        except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
            raise FeedError(Reason.UNREACHABLE, str(error)[:200]) from error
        except httpx.HTTPError as error:
            raise FeedError(Reason.CUT_SHORT, str(error)[:200] or type(error).__name__) from error

    @asynccontextmanager
    async def _request(self, url: httpx.URL, validators: Validators) -> AsyncIterator[httpx.Response]:
        # httpx's transport without its client, which would keep cookies and write whole addresses into the log.
        headers = self._headers | validators.headers_for(str(url))
        request = httpx.Request("GET", url, headers=headers, extensions={"timeout": self._timeout.as_dict()})
        if url.userinfo:
            request = next(httpx.BasicAuth(url.username, url.password).auth_flow(request))
        response = await self._transport.handle_async_request(request)
        try:
            yield response
        finally:
            await response.aclose()

    async def _answer(self, url: httpx.URL, validators: Validators, response: httpx.Response) -> Answer:
        status = response.status_code
        if status == 304:
            return Answer(str(url), None, validators)
        if status != 200:
            raise _refusal(response)
        body = await self._body(response)
        given = Validators(
            str(url), _short(response.headers.get("etag")), _short(response.headers.get("last-modified"))
        )
        return Answer(str(url), body, given, response.charset_encoding or "")

    async def _body(self, response: httpx.Response) -> bytes:
        """The body, unpacked here: httpx would unpack a whole block at once, and a block of a bomb holds 64 MiB."""
        limit = self.limits.max_bytes
        unpack = _unpacker(response.headers.get("content-encoding", ""), limit)
        parts, size = [], 0
        async for block in response.aiter_raw():
            part = unpack(block)
            size += len(part)
            if size > limit:
                raise FeedError(Reason.TOO_LARGE, f"more than {limit:,} bytes")
            parts.append(part)
            if unpack.ended:  # what a server sends behind the end is none of the feed, and may have none itself
                break
        unpack.finish()
        return b"".join(parts)


class _Verbatim:
    """A body that is not compressed."""

    ended = False

    def __call__(self, block: bytes) -> bytes:
        return block

    def finish(self) -> None:
        """It ends where the answer does."""


class _Gunzip:
    """Unpacks gzip (or zlib) step by step, never to more than ``limit`` bytes and one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._zlib = zlib.decompressobj(wbits=47)
        self._started = False

    @property
    def ended(self) -> bool:
        """The compressed data is complete."""
        return self._zlib.eof

    def __call__(self, block: bytes) -> bytes:
        self._started = self._started or bool(block)
        try:
            part = self._zlib.decompress(block, self._limit + 1)
        except zlib.error as error:
            raise FeedError(Reason.BAD_COMPRESSION, str(error)) from None
        self._limit -= len(part)
        if self._zlib.unconsumed_tail:
            raise FeedError(Reason.TOO_LARGE, "unpacks to more bytes than a feed may have")
        return part

    def finish(self) -> None:
        """:raises FeedError: the answer ended before the compressed data did."""
        if self._started and not self.ended:
            raise FeedError(Reason.CUT_SHORT, "the compressed answer ends too early")


def _unpacker(encoding: str, limit: int) -> _Verbatim | _Gunzip:
    match encoding.strip().lower():
        case "" | "identity":
            return _Verbatim()
        case "gzip" | "x-gzip" | "deflate":
            return _Gunzip(limit)
        case _:
            raise FeedError(Reason.BAD_COMPRESSION, f"content encoding {encoding[:40]!r}, which was not requested")


def _target(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return check_address(str(url.join(location)))
    except (httpx.InvalidURL, ValueError) as error:
        raise FeedError(Reason.BAD_ADDRESS, f"redirects to no address ({error})") from None
    except FeedError:
        raise FeedError(Reason.BAD_ADDRESS, f"redirects to {shown(location)}, which is not http or https") from None


def _refusal(response: httpx.Response) -> FeedError:
    status = response.status_code
    line = f"{status} {response.reason_phrase}".strip()[:100]
    if status == 410:
        return FeedError(Reason.GONE, line)
    if status in _REFUSALS:
        return FeedError(Reason.NOT_FOUND, line)
    if status in _THROTTLES:
        return FeedError(Reason.THROTTLED, line, retry_after=_wait(response.headers.get("retry-after", "")))
    return FeedError(Reason.SERVER_ERROR, line)


def _wait(value: str) -> float | None:
    """Seconds that a ``Retry-After`` asks for (a number or a date), a day at most; None when it says nothing."""
    try:
        seconds = float(value) if value.strip().isdigit() else _seconds_until(parsedate_to_datetime(value))
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), DAY)


def _seconds_until(date: datetime) -> float:
    return (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _short(validator: str | None) -> str:
    return validator if validator and len(validator) <= MAX_VALIDATOR and validator.isprintable() else ""
