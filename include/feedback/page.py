"""The page of how good search was each day, by what listeners did. It quotes no query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import jinja2

from include.feedback.figures import Day, load
from include.quality.trend import HEIGHT, WIDTH
from include.quality.trend import TEMPLATES as SHARED
from include.storage import ArtifactStore

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 60
"""Days."""


class Line(NamedTuple):
    """A figure over the days that have it, as points of a plot that begins at 0."""

    title: str
    now: float
    high: float
    points: list[tuple[float, float]]


LINES: dict[str, Callable[[Day], float | None]] = {
    "Successful": lambda day: day.success,
    "Mean reciprocal rank of plays": lambda day: day.mrr,
    "Searches": lambda day: float(day.searches),
}


def queries_page(store: ArtifactStore, *, today: date | None = None) -> str:
    """The page, as it is now. Its lines end with the last whole day."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, SHARED]), autoescape=True, undefined=jinja2.StrictUndefined
    )
    days = load(store, most=SHOWN)
    whole = [day for day in days if day.day < (today or datetime.now(UTC).date())]
    lines = [line for title, value in LINES.items() if (line := _line(title, [value(day) for day in whole]))]
    return environment.get_template("queries.html").render(
        days=days[::-1], whole=whole, lines=lines if len(whole) > 1 else [], width=WIDTH, height=HEIGHT
    )


def _line(title: str, values: Sequence[float | None]) -> Line | None:
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
