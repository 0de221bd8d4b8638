"""From a dataset to a snapshot of it, which nobody reads until it is published: what ``prepare_snapshot`` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from include.episodes import snapshot
from include.episodes.prepare import prepare
from include.episodes.sources.contract import Folder
from include.errors import RetryLaterError
from include.storage import ArtifactStore

WORK = "prepare"
"""The folder of unfinished work. There is one a machine, so that whoever comes next removes what a killed task left."""


def make_snapshot(
    store: ArtifactStore,
    folder: Folder,
    *,
    source_version: str,
    unchanged: Callable[[], object],
    work_root: Path,
    shards: int,
    threads: int,
    max_file_bytes: int,
) -> snapshot.Manifest:
    """Read, join and clean a dataset, and write it as a snapshot.

    Memory does not grow with the dataset, but for some hundred bytes a row.

    :param folder: holds ``podcasts.csv`` and ``episodes.csv``, plain or zipped.
    :param source_version: name of the dataset's version.
    :param unchanged: called once the files were read; raises if they are not (any more) what they should be.
    :param work_root: where there is room on this machine for about twice the dataset, as long as this runs.
    :param shards: number of parts of the snapshot; for the others see :func:`include.episodes.prepare.prepare`.
    :raises DatasetError: a file cannot be read as a whole.
    :raises RetryLaterError: another process prepares a dataset on this machine.
    """
    work_root.mkdir(parents=True, exist_ok=True)
    try:
        # Without flock there would be a lock that a killed process leaves behind: rather none at all.
        lock = FileLock(work_root / f"{WORK}.lock", fallback_to_soft=False).acquire(timeout=0)
    except Timeout:  # one that Airflow took for dead, for instance
        raise RetryLaterError(f"Another process is preparing episodes in {work_root / WORK}.") from None
    with (
        lock,
        prepare(
            folder,
            work=work_root / WORK,
            shards=shards,
            threads=threads,
            max_file_bytes=max_file_bytes,
        ) as prepared,
    ):
        unchanged()
        return snapshot.write_parts(
            store,
            prepared.parts,
            source_version=source_version,
            counts=prepared.counts,
            quarantined=prepared.quarantined,
            quarantine=prepared.quarantine_file,
        )
