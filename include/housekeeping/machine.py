"""Clean-up of one machine: unfinished work and task logs that are no longer needed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from include.housekeeping.summary import Summary
from include.storage import ArtifactStore

CACHES = frozenset({"generators"})
"""Folders among the unfinished work that are caches: what is in them follows from the settings, and does not grow."""
DAY = 24 * 3600


def prune_machine(work_root: Path, logs: Path | None, *, work_days: int, log_days: int, dry_run: bool) -> Summary:
    """Remove what is older.

    :param work_root: where unfinished work waits for a retry; what is in it is judged by its newest file.
    :param logs: the folder of Airflow's logs, if they are on this machine; each file is judged by itself.
    """
    summary, now = Summary(dry_run=dry_run), time.time()
    for entry in sorted(work_root.iterdir()) if work_root.is_dir() else ():
        if entry.name in CACHES or entry.suffix == ".lock":
            continue
        files = [*_files(entry)] if entry.is_dir() else [entry]
        newest = max((_modified(file) for file in [entry, *files]), default=now)
        if newest < now - work_days * DAY:
            summary.add("unfinished work", sum(_size(file) for file in files))
            if not dry_run:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink(missing_ok=True)
    for file in _files(logs) if logs else ():
        if _modified(file) < now - log_days * DAY:
            summary.add("logs", _size(file))
            if not dry_run:
                file.unlink(missing_ok=True)
    if logs and not dry_run:
        _remove_empty(logs, before=now - DAY)
    return summary


def prune_logs(store: ArtifactStore, summary: Summary, *, days: int) -> None:
    """Remove old logs from an object store, and count them.

    :param summary: of what was removed before; whether it is of a dry run is its to say.
    """
    before = datetime.now(UTC) - timedelta(days=days)
    for file in store.files():
        if file.modified < before:
            summary.add("logs", file.bytes)
            if not summary.dry_run:
                store.remove(*file.path)


def _files(folder: Path) -> Iterator[Path]:
    """Files in a folder and below; links are not followed."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names)


def _remove_empty(folder: Path, *, before: float) -> None:
    """Remove folders below that are empty and were not made just now, for a task that begins to write."""
    for parent, _, _ in os.walk(folder, topdown=False):
        path = Path(parent)
        if path != folder and _modified(path) < before and not any(path.iterdir()):
            with suppress(OSError):  # a task has begun to write there
                path.rmdir()


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # somebody else has removed it
        return time.time()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
