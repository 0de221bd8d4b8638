"""The page of daily search quality, judged by what listeners did. It quotes no query."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

from include.feedback.figures import Day, load
from include.quality.lines import line
from include.quality.templating import render_template
from include.storage import ArtifactStore

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 60
"""Days."""


LINES: dict[str, Callable[[Day], float | None]] = {
    "Successful": lambda day: day.success,
    "Mean reciprocal rank of plays": lambda day: day.mrr,
    "Searches": lambda day: float(day.searches),
}


def queries_page(store: ArtifactStore, *, today: date | None = None) -> str:
    """The page, as it is now. Its lines end with the last whole day."""
    days = load(store, most=SHOWN)
    whole = [day for day in days if day.day < (today or datetime.now(UTC).date())]
    lines = [found for title, value in LINES.items() if (found := line(title, [value(day) for day in whole]))]
    return render_template(
        "queries.html", TEMPLATES, days=days[::-1], whole=whole, lines=lines if len(whole) > 1 else []
    )
