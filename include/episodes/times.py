"""Dates and durations as datasets and feeds write them: one reading for all sources."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""Dates outside are mistakes; broadcasters date archive episodes by first airing. Fixed, not relative to today, so that
the same data always gives the same snapshot."""
MAX_DURATION = 7 * 24 * 3600
"""Seconds; a longer ``audio_length`` is a mistake (bytes or milliseconds, usually)."""

_EPOCH = re.compile(r"(\d{9,10})(?:\.\d+)?", re.A)
_TWELVE_HOURS = re.compile(r"\b(\d{1,2}):(\d\d(?::\d\d)?)\s*([ap])\.?m\b\.?", re.I | re.A)
_TIME = re.compile(r"\d[:.]\d", re.A)
_UTC = re.compile(r"\s*(?:UTC|GMT)$", re.I)
_COLON_IN_OFFSET = re.compile(r"([+-]\d\d):(\d\d)$", re.A)
_SEPTEMBER = re.compile(r"\bsept\b", re.I)
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2})(?:\.\d+)?", re.A)
_UNITS = re.compile(
    r"(?:P(?:\d{1,3}D)?(?:T|$))?"  # ISO 8601 puts these before hours
    r"(?:\d{1,7}(?:\.\d{1,9})?\s*(?:h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)\.?[\s,]*)*",
    re.I | re.A,
)
_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*([dhms])", re.A)
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def parse_date(value: str) -> datetime | None:
    """A date in UTC: ISO 8601 (``2017-12-01 05:00:00+00``), RFC 2822 or epoch seconds; without an offset it is UTC.

    None where it is no date, or none that a podcast can have (:data:`EARLIEST`, :data:`LATEST`).
    """
    text = value.strip()
    if not text:
        return None
    try:
        date = _written(text)
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):  # whatever the standard library trips over
        return None
    return date.replace(microsecond=0) if EARLIEST <= date < LATEST else None


def _written(text: str) -> datetime:
    if epoch := _EPOCH.fullmatch(text):
        return datetime.fromtimestamp(int(epoch[1]), UTC)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        text = _TWELVE_HOURS.sub(_in_24_hours, text)
    try:
        return datetime.fromisoformat(_UTC.sub("Z", text))
    except ValueError:
        text = _COLON_IN_OFFSET.sub(r"\1\2", text)  # the parser would leave such an offset out
        return parsedate_to_datetime(_SEPTEMBER.sub("Sep", text) + ("" if _TIME.search(text) else " 00:00"))


def _in_24_hours(time: re.Match[str]) -> str:
    hour = int(time[1])
    if hour <= 12:  # else it is in 24 hours already, whatever stands behind it
        hour = hour % 12 + (12 if time[3] in "pP" else 0)
    return f"{hour:02d}:{time[2]}"


def parse_duration(value: str) -> int | None:
    """Whole seconds, from seconds, ``[h:]m:s``, ISO 8601 (``PT1H2M3S``) or numbers with units (``1h 2m``).

    None where the value is no length that an episode can have (:data:`MAX_DURATION`).
    """
    text = value.strip()
    if not text:
        return None
    try:
        seconds = int(float(text))
    except (ValueError, OverflowError):
        seconds = _told(text)
    return seconds if 0 < seconds <= MAX_DURATION else None


def _told(text: str) -> int:
    """Seconds of a duration that is not a number; 0 where it cannot be read."""
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return 3_600 * hours + 60 * minutes + seconds
    if _UNITS.fullmatch(text):
        return int(sum(float(number) * _SECONDS[unit] for number, unit in _UNIT.findall(text.lower())))
    return 0
