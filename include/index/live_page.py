"""The page of what is live: since when, what was before, the metrics of each, how search is doing, and how to go
back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from include.index.live import history, read_live
from include.index.watched import Day, by_day, load
from include.quality.lines import line
from include.quality.templating import render_template
from include.storage import ArtifactStore

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 30
DAYS = 60
"""Of the trend."""
LINES: dict[str, Callable[[Day], float | None]] = {
    "Episodes in the index": lambda day: day.records,
    "Age of the snapshot, hours": lambda day: day.age / 3600,
    "Cosine of known answers": lambda day: day.score,
    "Time for a question, ms": lambda day: None if day.seconds is None else 1000 * day.seconds,
}
METRICS = {"recall@30": "Recall@30", "mrr@30": "MRR@30"}


def live_page(store: ArtifactStore) -> str:
    """The page, as it is now.

    :raises PermanentError: the pointer is damaged.
    """
    live = read_live(store)
    past = history(store, most=SHOWN)
    sets = sorted({name for pointer in (live, *past) if pointer for name in pointer.metrics}, reverse=True)
    days = by_day(load(store, most=DAYS))
    lines = [found for title, value in LINES.items() if (found := line(title, [value(day) for day in days]))]
    return render_template(
        "live.html",
        TEMPLATES,
        live=live,
        previous=live.previous if live else None,
        history=past,
        sets=sets,
        metrics=METRICS,
        days=days,
        lines=lines if len(days) > 1 else [],
    )
