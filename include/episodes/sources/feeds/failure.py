"""Why a feed could not be used this time."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """What went wrong with a feed, in the report's words."""

    BAD_ADDRESS = "bad_address"
    """The entry of the list, or what it redirects to, is no http or https address."""
    REFUSED_ADDRESS = "refused_address"
    """It leads to a private, local or reserved address."""
    UNREACHABLE = "unreachable"
    """The name does not resolve, or no connection (or no TLS connection) comes about."""
    TIMEOUT = "timeout"
    """The answer took longer than a feed may take, from first to last byte."""
    CUT_SHORT = "cut_short"
    """The answer ended before it was complete."""
    TOO_LARGE = "too_large"
    """The feed has more bytes, unpacked, than a feed may have."""
    TOO_MANY_REDIRECTS = "too_many_redirects"
    NOT_FOUND = "not_found"
    """401, 403, 404: it is not there, or not for us."""
    GONE = "gone"
    """410: it is not coming back. It is not polled again, and its episodes stay."""
    THROTTLED = "throttled"
    """429 or 503: asked to wait."""
    HOST_PAUSED = "host_paused"
    """Not asked: its host failed several times running in this poll."""
    SERVER_ERROR = "server_error"
    """Any other answer that is not a feed."""
    BAD_COMPRESSION = "bad_compression"
    """Compressed in a way that was not asked for, or damaged."""
    EMPTY = "empty"
    WEB_PAGE = "web_page"
    """A page in HTML where a feed should be."""
    NOT_A_FEED = "not_a_feed"
    NO_ITEMS = "no_items"
    PARSER_LIMIT = "parser_limit"
    """Reading it took more time or memory than a feed may take: made to do harm, usually."""
    UNEXPECTED = "unexpected"
    """A mistake in podsearch: the log has it."""


TRANSIENT = frozenset({Reason.UNREACHABLE, Reason.CUT_SHORT, Reason.SERVER_ERROR})
"""Reasons that may be temporary: worth a second try in the same poll."""
HOST_TROUBLES = frozenset({Reason.UNREACHABLE, Reason.TIMEOUT, Reason.THROTTLED})
"""Reasons that lie with the host rather than with the feed."""
PASSING = TRANSIENT | HOST_TROUBLES | {Reason.HOST_PAUSED, Reason.UNEXPECTED}
"""Reasons that may be gone by the next poll."""
MAX_TROUBLES = 3
"""So many of them running, and a host's other feeds are left for the next poll."""


class FeedError(Exception):
    """A feed could not be used this time.

    :param detail: one line for people, without secrets of the address.
    :param retry_after: seconds that the server asked to wait.
    """

    def __init__(self, reason: Reason, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after
