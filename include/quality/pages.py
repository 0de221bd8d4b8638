"""Pages that are made when they are asked for: the latest runs, and the rows in quarantine.

They are for readers in a browser, and stay light for the web server: Great Expectations is not loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jinja2
import pyarrow.parquet as pq

from include.episodes import snapshot
from include.quality import profile, trend
from include.quality.result import DOCS, FOLDER, load_all, runs
from include.storage import ArtifactStore

RUNS = 20
"""Runs and snapshots listed, at most."""
ROWS = 500
"""Rows of a quarantine shown, at most."""
RAW_CHARS = 300
"""How much is shown of what such a row was."""

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)


def latest_runs(store: ArtifactStore) -> str:
    """The page of the latest validations and snapshots; what is damaged says so, and hides nothing else."""
    results = {name: _whole(load_all, store, name) for name in runs(store)[:RUNS]}
    published = _whole(snapshot.publications, store)
    there = [item for item in (published or [])[: -RUNS - 1 : -1] if snapshot.exists(store, item.snapshot_id)]
    snapshots = [(item, _whole(snapshot.load, store, item.snapshot_id)) for item in there]
    return _render(
        "runs.html", runs=results, unreadable=published is None, snapshots=snapshots, docs=DOCS, folder=FOLDER
    )


def catalogue_trend(store: ArtifactStore) -> str:
    """The page of the trend as it is now, of published snapshots alone."""
    return trend.render(profile.published(store, window=trend.WINDOW), home="../quality")


def quarantine(store: ArtifactStore, snapshot_id: str) -> str:
    """The page of the rows that could not be used for a snapshot: how many for each reason, and the first of them.

    :raises FileNotFoundError: there is no such snapshot.
    """
    manifest = snapshot.load(store, snapshot_id)
    with store.path(snapshot.FOLDER, snapshot_id, snapshot.QUARANTINE_FILE).open("rb") as file:
        first = next(pq.ParquetFile(file).iter_batches(batch_size=ROWS), None)
    rows = first.to_pylist() if first is not None else []
    return _render("quarantine.html", manifest=manifest, rows=rows, raw_chars=RAW_CHARS)


def message(title: str, text: str) -> str:
    """A page that only says something."""
    return _render("message.html", title=title, text=text)


def _whole(read: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T | None:
    """What is read, or None if it is damaged."""
    try:
        return read(*arguments, **options)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("What is damaged is left out of a page: %s", error)
        return None


def _render(template: str, **values: object) -> str:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(trend.TEMPLATES), autoescape=True)
    return environment.get_template(template).render(**values)
