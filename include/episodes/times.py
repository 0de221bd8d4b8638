"""Dates and durations as datasets and feeds write them: one reading for all sources."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pandas as pd

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""Dates outside are mistakes; broadcasters date archive episodes by first airing. Fixed, not relative to today, so that
the same data always gives the same snapshot."""
MAX_DURATION = 7 * 24 * 3600
"""Seconds; a longer ``audio_length`` is a mistake (bytes or milliseconds, usually)."""

_EPOCH = re.compile(r"\d{9,10}", re.A)
_TWELVE_HOURS = re.compile(r"\b(0?[1-9]|1[0-2]):(\d\d(?::\d\d)?)\s*([ap])\.?m\b\.?", re.I | re.A)
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2})(?:\.\d+)?", re.A)
_ISO = re.compile(r"P[\dDTHMS.]+", re.I | re.A)
_UNITS = re.compile(
    r"(?:\d{1,7}(?:\.\d{1,9})?\s*(?:h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)(?![a-z])[\s,]*)+", re.I | re.A
)
_UNIT = re.compile(r"([hms])[a-z]*", re.A)


def parse_date(value: str) -> datetime | None:
    """A date in UTC: ISO 8601 (``2017-12-01 05:00:00+00``), RFC 2822 or epoch seconds; without an offset it is UTC.

    None where it is no date, or none that a podcast can have (:data:`EARLIEST`, :data:`LATEST`).
    """
    text = value.strip()
    try:
        date = datetime.fromtimestamp(int(text), UTC) if _EPOCH.fullmatch(text) else _written(text)
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return date.replace(microsecond=0) if EARLIEST <= date < LATEST else None


def _written(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return parsedate_to_datetime(_TWELVE_HOURS.sub(_in_24_hours, text))


def _in_24_hours(time: re.Match[str]) -> str:
    hour = int(time[1]) % 12 + (12 if time[3] in "pP" else 0)
    return f"{hour:02d}:{time[2]}"


def parse_duration(value: str) -> int | None:
    """Whole seconds, from seconds, ``[h:]m:s``, ISO 8601 (``PT1H2M3S``) or numbers with units (``1h 2m``).

    None where the value is no length that an episode can have (:data:`MAX_DURATION`).
    """
    text = value.strip()
    try:
        if clock := _CLOCK.fullmatch(text):
            hours, minutes, rest = (int(part or 0) for part in clock.groups())
            seconds = 3600 * hours + 60 * minutes + rest
        elif _ISO.fullmatch(text):
            seconds = int(pd.Timedelta(text.upper()).total_seconds())
        elif _UNITS.fullmatch(text):
            seconds = int(pd.Timedelta(_UNIT.sub(r"\1", text.lower()).replace(",", " ")).total_seconds())
        else:
            seconds = int(float(text))
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds <= MAX_DURATION else None
