"""A figure over time as a small line, drawn as SVG in the page's template (``lines.html``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from include.quality.templating import HEIGHT, WIDTH


class Line(NamedTuple):
    """A figure over the moments that have it, as points of a plot that begins at 0."""

    title: str
    now: float
    high: float
    points: list[tuple[float, float]]


def line(title: str, values: Sequence[float | None]) -> Line | None:
    """The line of some values, None where there is none; nothing if there is none at all."""
    found = [(place, value) for place, value in enumerate(values) if value is not None]
    if not found:
        return None
    high = max(value for _, value in found) or 1.0
    step = WIDTH / max(len(values) - 1, 1)
    return Line(
        title,
        found[-1][1],
        high,
        [(round(place * step, 1), round(HEIGHT * (1 - value / high), 1)) for place, value in found],
    )
