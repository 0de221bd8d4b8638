"""The page of what is live: since when, what was before, how each was measured, and how to go back."""

from __future__ import annotations

from pathlib import Path

import jinja2

from include.index.live import history, read_live
from include.quality.trend import TEMPLATES as SHARED
from include.storage import ArtifactStore

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 30
METRICS = {"recall@30": "Recall@30", "mrr@30": "MRR@30"}


def live_page(store: ArtifactStore) -> str:
    """The page, as it is now.

    :raises PermanentError: the pointer is damaged.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, SHARED]), autoescape=True, undefined=jinja2.StrictUndefined
    )
    live = read_live(store)
    past = history(store, most=SHOWN)
    sets = sorted({name for pointer in (live, *past) if pointer for name in pointer.metrics}, reverse=True)
    return environment.get_template("live.html").render(
        live=live, previous=live.previous if live else None, history=past, sets=sets, metrics=METRICS
    )
