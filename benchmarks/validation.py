"""Our ingestion with every table validated by Great Expectations, for :mod:`benchmarks.ingest`.

As in the DAG ``ingest_episodes``, each validation is a process of its own, which has to import the library first: those
of the two raw files at the same time, then the ingestion, then those of the snapshot and of its drift at the same time.
All compare the catalogue with one that was published the night before.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.catalogue import SETTINGS, make_snapshot
from benchmarks.processes import run

if TYPE_CHECKING:
    from include.quality.ingestion import Check, File
    from include.storage import ArtifactStore

PROJECT = Path(__file__).resolve().parents[1]
LIMITS: dict[str, Any] = SETTINGS.quality.model_dump()
RUN = "benchmark"
STORE, WORK = "artifacts", "work"
VERSION, NEW = "version.json", "new.json"
"""They name the version of the dataset that was looked up, and the snapshot that is validated."""

Outcome = dict[str, Any]


def ingestion(dataset: Path, target: Path) -> Outcome:
    """What the task ``prepare_snapshot`` does."""
    from include.storage import ArtifactStore

    version = _noted(target / VERSION)
    manifest = make_snapshot(ArtifactStore(target / STORE), dataset, target / WORK, version=version, name="tonight")
    (target / NEW).write_text(json.dumps(manifest.snapshot_id))
    return {"read": manifest.counts["episodes_read"], "kept": manifest.episodes, **manifest.quarantined}


def check_source(dataset: Path, target: Path) -> Outcome:
    """What the task ``check_source`` does where there is something new; not measured."""
    from include.episodes.sources.directory import DirectorySource

    version = DirectorySource(dataset).latest_version()
    (target / VERSION).write_text(json.dumps(version))
    return {"version": version}


def publish_before(dataset: Path, target: Path) -> Outcome:
    """Publish a snapshot and its profile, for the next to be held against; not measured."""
    from include.episodes import snapshot
    from include.storage import ArtifactStore

    store = ArtifactStore(target / STORE)
    version = _noted(target / VERSION)
    manifest = make_snapshot(store, dataset, target / WORK, version=version, name="last night")
    _profiles(store, manifest.snapshot_id)
    snapshot.publish(store, manifest.snapshot_id)
    return {"kept": manifest.episodes}


def validate_podcasts(dataset: Path, target: Path) -> Outcome:
    """What the task ``validate_podcasts`` does."""
    return _validate_raw(dataset, target, "podcasts")


def validate_raw_episodes(dataset: Path, target: Path) -> Outcome:
    """What the task ``validate_raw_episodes`` does."""
    return _validate_raw(dataset, target, "episodes")


def validate_episodes(dataset: Path, target: Path) -> Outcome:
    """What the task ``validate_episodes`` does."""
    from include.episodes import snapshot
    from include.quality import ingestion
    from include.storage import ArtifactStore

    store = ArtifactStore(target / STORE)
    previous = snapshot.latest(store)
    check = ingestion.episodes(store, _noted(target / NEW), previous=previous, **LIMITS)
    return _validate(check, target)


def validate_drift(dataset: Path, target: Path) -> Outcome:
    """What the task ``validate_drift`` does."""
    from include.storage import ArtifactStore

    return _validate(_profiles(ArtifactStore(target / STORE), _noted(target / NEW)), target)


def _profiles(store: ArtifactStore, snapshot_id: str) -> Check:
    from include.quality import ingestion

    return ingestion.profiles(
        store,
        snapshot_id,
        run_name=RUN,
        accepted=False,
        max_shrink=SETTINGS.quality.max_shrink,
    )


def _validate_raw(dataset: Path, target: Path, file: File) -> Outcome:
    from include.episodes import snapshot
    from include.quality import ingestion
    from include.storage import ArtifactStore

    previous = snapshot.latest(ArtifactStore(target / STORE))
    check = ingestion.raw_file(
        dataset, file, previous=previous, max_file_bytes=SETTINGS.episodes.max_file_bytes, **LIMITS
    )
    return _validate(check, target)


def _validate(check: Check, target: Path) -> Outcome:
    from include.quality.result import require
    from include.quality.run import validate
    from include.storage import ArtifactStore

    result = require(validate(*check, store=ArtifactStore(target / STORE), run_name=RUN))
    return {"rows": result.rows, **result.statistics}


def _noted(file: Path) -> str:
    return str(json.loads(file.read_text()))


TASKS = {
    "validate_podcasts": validate_podcasts,
    "validate_raw_episodes": validate_raw_episodes,
    "ingestion": ingestion,
    "validate_episodes": validate_episodes,
    "validate_drift": validate_drift,
}
"""The tasks of the DAG, by the names of what is measured."""
STAGES: Sequence[Sequence[str]] = (
    ("validate_podcasts", "validate_raw_episodes"),
    ("ingestion",),
    ("validate_episodes", "validate_drift"),
)
"""What runs at the same time, in the order of the DAG."""


def checked_ingestion(dataset: Path, target: Path) -> Outcome:
    """Ours with Great Expectations; the outcome has what each task used."""

    def task(name: str) -> Outcome:
        options = ["--measure", name, "--dataset", str(dataset), "--target", str(target)]
        usage, printed = run([sys.executable, "-m", "benchmarks.ingest", *options], cwd=PROJECT)
        used = {key: round(value, 2) for key, value in asdict(usage).items()}
        return {**json.loads(printed), **used}

    tasks: Outcome = {}
    with ThreadPoolExecutor(2) as pool:
        for names in STAGES:
            tasks |= zip(names, pool.map(task, names), strict=True)
    return {"tasks": tasks}
