"""Figures as the report writes them; none of them ever shows a NaN."""

from __future__ import annotations

import math


def number(value: float | None, digits: int = 3) -> str:
    """A figure with fixed digits; a dash if there is none."""
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else "–"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign, the minus as a minus and not as a hyphen."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:+.{digits}f}".replace("-", "−")


def count(value: float | None) -> str:
    """A whole number with thousands separated."""
    return f"{value:,.0f}" if value is not None and math.isfinite(value) else "–"


def share(part: float, whole: float) -> str:
    """A part of a whole in per cent; small amounts are never shown as zero."""
    if not whole or not math.isfinite(part / whole):
        return "–"
    percent = 100 * part / whole
    return "<0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %"


def seconds(value: float) -> str:
    """A duration as people read it: ``0.4 s``, ``42 s``, ``3 min 05 s``, ``2 h 12 min``."""
    if not math.isfinite(value):
        return "–"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(value: float) -> str:
    """Memory as people read it: ``512 MiB``, ``5.1 GiB``."""
    if not math.isfinite(value) or value <= 0:
        return "–"
    mebibytes = value / 2**20
    return f"{max(mebibytes, 1):.0f} MiB" if mebibytes < 1000 else f"{mebibytes / 1024:.1f} GiB"
