"""Our ingestion with every table validated by Great Expectations, for :mod:`benchmarks.ingest`.

As in the DAG ``ingest_episodes``, each validation is a process of its own, which has to import the library first: those
of the two raw files at the same time, then the ingestion, then that of the snapshot.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.processes import run

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd

PROJECT = Path(__file__).resolve().parents[1]
LIMITS: dict[str, Any] = {"max_quarantined_share": 0.35, "max_shrink": 0.2, "max_growth": 3.0}
"""The settings' defaults."""
MAX_FILE_BYTES = 2**40

Outcome = dict[str, Any]


def validate_podcasts(dataset: Path, target: Path) -> Outcome:
    """What the task ``validate_podcasts`` does."""
    from include.episodes.raw import RawFile
    from include.quality import frames, suites

    raw = RawFile(dataset, "podcasts", max_file_bytes=MAX_FILE_BYTES)
    frame = frames.raw_podcasts(raw.reader())
    suite = suites.raw_podcasts(malformed=raw.malformed, rows_read=raw.rows_read, previous_rows=len(frame), **LIMITS)
    return _validate(frame, suite, target)


def validate_raw_episodes(dataset: Path, target: Path) -> Outcome:
    """What the task ``validate_raw_episodes`` does."""
    from include.episodes.raw import RawFile
    from include.quality import frames, suites

    raw = RawFile(dataset, "episodes", max_file_bytes=MAX_FILE_BYTES)
    podcasts = RawFile(dataset, "podcasts", max_file_bytes=MAX_FILE_BYTES)
    frame = frames.raw_episodes(raw.reader(), podcasts.column("uuid"))
    suite = suites.raw_episodes(malformed=raw.malformed, rows_read=raw.rows_read, previous_rows=len(frame), **LIMITS)
    return _validate(frame, suite, target)


def validate_episodes(dataset: Path, target: Path) -> Outcome:
    """What the task ``validate_episodes`` does, with the only snapshot in ``target``."""
    from include.episodes import snapshot
    from include.quality import frames, suites
    from include.storage import ArtifactStore

    store = ArtifactStore(target / "artifacts")
    (name,) = store.names(snapshot.FOLDER)
    files = snapshot.read_quarantine(store, name, columns=["file"])["file"].to_pylist()
    frame = frames.prepared_episodes(snapshot.reader(store, name))
    quarantined = files.count("episodes")
    suite = suites.episodes(
        quarantined=quarantined,
        rows_read=len(frame) + quarantined,
        previous_rows=len(frame),
        max_text_chars=20_000,
        **LIMITS,
    )
    return _validate(frame, suite, target)


def _validate(frame: pd.DataFrame, suite: gx.ExpectationSuite, target: Path) -> Outcome:
    from include.quality.result import require
    from include.quality.run import validate
    from include.storage import ArtifactStore

    result = require(validate(frame, suite, store=ArtifactStore(target / "artifacts"), run_name="benchmark"))
    return {"rows": result.rows, **result.statistics}


TASKS = {
    "validate_podcasts": validate_podcasts,
    "validate_raw_episodes": validate_raw_episodes,
    "validate_episodes": validate_episodes,
}
"""The tasks that validate, by name."""


def checked_ingestion(dataset: Path, target: Path) -> Outcome:
    """Ours with Great Expectations; the outcome has what each task used."""

    def task(name: str) -> Outcome:
        options = ["--measure", name, "--dataset", str(dataset), "--target", str(target)]
        usage, printed = run([sys.executable, "-m", "benchmarks.ingest", *options], cwd=PROJECT)
        used = {key: round(value, 2) for key, value in asdict(usage).items()}
        return {**json.loads(printed), **used}

    names = ("validate_podcasts", "validate_raw_episodes")
    with ThreadPoolExecutor(len(names)) as pool:
        tasks = dict(zip(names, pool.map(task, names), strict=True))
    return {"tasks": tasks | {name: task(name) for name in ("ingestion", "validate_episodes")}}
