"""Pages that are made on request: the latest runs, and the rows in quarantine.

They are for readers in a browser, and stay light for the web server: Great Expectations is not loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, ParamSpec, TypeVar

import pyarrow.parquet as pq

from include.episodes import snapshot
from include.quality import profile, trend
from include.quality.result import DOCS, FOLDER, QUERIES, QualityResult, load_all
from include.quality.templating import render_template
from include.storage import ArtifactStore

INGESTION, TRAINING = "ingest_episodes", "train_retriever"
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
    """The page of the latest validations and snapshots; damaged entries are marked, and hide nothing else."""
    validated = {name: _whole(load_all, store, name) for name in _newest(store)}
    published = _whole(snapshot.publications, store)
    there = [item for item in (published or [])[: -RUNS - 1 : -1] if snapshot.exists(store, item.snapshot_id)]
    snapshots = [(item, _whole(snapshot.load, store, item.snapshot_id)) for item in there]
    return render_template(
        "runs.html",
        runs=[_run(name, results) for name, results in validated.items()],
        unreadable=published is None,
        snapshots=snapshots,
        docs=DOCS,
        folder=FOLDER,
    )


class Run(NamedTuple):
    """The validations of one DAG run.

    :param when: the last of them was; None if they cannot be read, as ``results`` then.
    """

    name: str
    dag: str
    when: datetime | None
    results: list[QualityResult] | None


def _run(name: str, results: list[QualityResult] | None) -> Run:
    dag = TRAINING if results and results[0].suite == QUERIES else INGESTION
    return Run(name, dag, max((one.validated_at for one in results or []), default=None), results)


def _newest(store: ArtifactStore) -> list[str]:
    """Names of the last runs, the newest first: not every name begins with a time."""
    written: dict[str, datetime] = {}
    for file in store.files(FOLDER):
        if len(file.path) > 2:
            written[file.path[1]] = max(file.modified, written.get(file.path[1], file.modified))
    return sorted(written, key=lambda name: (written[name], name), reverse=True)[:RUNS]


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
    return render_template("quarantine.html", manifest=manifest, rows=rows, raw_chars=RAW_CHARS)


def message(title: str, text: str) -> str:
    """A page with only a message."""
    return render_template("message.html", title=title, text=text)


def _whole(read: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T | None:
    """What is read, or None if it is damaged."""
    try:
        return read(*arguments, **options)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("Damaged files are left out of a page: %s", error)
        return None
