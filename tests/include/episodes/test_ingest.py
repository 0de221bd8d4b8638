"""From a dataset to a snapshot: the work folder is empty afterwards, whatever happened to whoever worked there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from include.episodes import snapshot
from include.episodes.ingest import WORK, make_snapshot
from include.episodes.sources.files import DatasetError
from include.errors import RetryLaterError
from include.settings import PROJECT
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import prepare_in_memory
from tests.include.episodes.conftest import WriteDataset, episode, show

OPTIONS: dict[str, Any] = {"source_version": "v1", "max_file_bytes": 2**30}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def dataset(write_dataset: WriteDataset) -> Path:
    shows = [show(f"s{number}") for number in range(9)]
    episodes = [episode(f"e{number:03d}", podcast_uuid=f"s{number % 9}") for number in range(200)]
    return write_dataset(shows=shows, episodes=[*episodes, episode("e900", title=""), episode("e901", podcast_uuid="")])


def make(store: ArtifactStore, dataset: Path, work_root: Path, **options: Any) -> snapshot.Manifest:
    values = OPTIONS | {"unchanged": lambda: None, "shards": 3, "threads": 1} | options
    return make_snapshot(store, dataset, work_root=work_root, **values)


def left_in(work_root: Path) -> list[str]:
    return sorted(path.name for path in work_root.iterdir() if path.name != f"{WORK}.lock")


@pytest.mark.parametrize("threads", [1, 2])
def test_the_snapshot_has_all_that_preparation_makes_of_the_dataset(
    store: ArtifactStore, dataset: Path, tmp_path: Path, threads: int
) -> None:
    manifest = make(store, dataset, tmp_path / "work", threads=threads)

    whole = prepare_in_memory(dataset)
    assert (manifest.episodes, manifest.shows, manifest.shards) == (200, 9, 3)
    assert manifest.counts == whole.counts
    assert manifest.quarantined == whole.quarantined
    assert {reason: count for reason, count in manifest.quarantined.items() if count} == {
        "missing_title": 1,
        "orphan": 1,
    }
    assert snapshot.read(store, manifest.snapshot_id).sort_by("episode_id").equals(whole.episodes)
    assert snapshot.read_quarantine(store, manifest.snapshot_id).num_rows == 2
    assert left_in(tmp_path / "work") == []


def test_files_that_changed_while_they_were_read_make_no_snapshot(
    store: ArtifactStore, dataset: Path, tmp_path: Path
) -> None:
    def unchanged() -> None:
        assert left_in(tmp_path / "work") == [WORK], "the files were read"
        raise DatasetError("changed")

    with pytest.raises(DatasetError, match="changed"):
        make(store, dataset, tmp_path / "work", unchanged=unchanged)
    assert store.names(snapshot.FOLDER) == []
    assert left_in(tmp_path / "work") == []


def test_a_retry_removes_what_a_killed_task_left(store: ArtifactStore, dataset: Path, tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from include.episodes.ingest import make_snapshot
from include.storage import ArtifactStore
make_snapshot(
    ArtifactStore({str(store.root)!r}), Path({str(dataset)!r}), work_root=Path({str(tmp_path / "work")!r}), shards=3,
    threads=2, unchanged=lambda: os.kill(os.getpid(), signal.SIGKILL), **{OPTIONS!r},
)
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=False, timeout=120)
    assert killed.returncode == -9
    assert left_in(tmp_path / "work") == [WORK]
    assert (tmp_path / "work" / WORK / "part-0002.parquet").is_file()

    assert make(store, dataset, tmp_path / "work", shards=1).episodes == 200
    assert left_in(tmp_path / "work") == []


def test_two_never_work_in_one_folder(store: ArtifactStore, dataset: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / WORK).mkdir(parents=True)
    (work / WORK / "part-0000.parquet").write_text("of the other")
    with FileLock(work / f"{WORK}.lock"), pytest.raises(RetryLaterError, match="Another process is preparing episodes"):
        make(store, dataset, work)
    assert (work / WORK / "part-0000.parquet").read_text() == "of the other"

    assert make(store, dataset, work).episodes == 200
