from __future__ import annotations

import os
import time
from pathlib import Path

from include.housekeeping.machine import prune_logs, prune_machine
from include.housekeeping.summary import Removed, Summary
from include.storage import ArtifactStore


def write(file: Path, *, days: float) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"12345")
    then = time.time() - days * 24 * 3600
    for path in (file, file.parent):
        os.utime(path, (then, then))


def prune(folder: Path, *, dry_run: bool = False) -> Summary:
    return prune_machine(folder / "work", folder / "logs", work_days=10, log_days=5, dry_run=dry_run)


def test_work_is_judged_by_its_newest_file(tmp_path: Path) -> None:
    work = tmp_path / "work"
    write(work / "going" / "checkpoint-1" / "weights", days=30)
    write(work / "going" / "checkpoint-2" / "weights", days=9)
    write(work / "given up" / "weights", days=11)
    write(work / "prepare.lock", days=99)
    write(work / "generators" / "t5" / "weights", days=99)
    os.utime(work / "generators", (0, 0))
    would = prune(tmp_path, dry_run=True)
    assert len(list(work.iterdir())) == 4
    assert prune(tmp_path) == Summary(dry_run=False, kinds={"unfinished work": Removed(items=1, bytes=5)})
    assert would.kinds == {"unfinished work": Removed(items=1, bytes=5)}
    assert sorted(path.name for path in work.iterdir()) == ["generators", "going", "prepare.lock"]


def test_logs_are_judged_one_by_one_and_leave_no_empty_folders(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write(logs / "dag_id=a" / "run_id=1" / "attempt=1.log", days=6)
    write(logs / "dag_id=a" / "run_id=2" / "attempt=1.log", days=6)
    write(logs / "dag_id=a" / "run_id=2" / "attempt=2.log", days=4)
    assert prune(tmp_path).kinds == {"logs": Removed(items=2, bytes=10)}
    assert (logs / "dag_id=a" / "run_id=1").exists(), "a task may be about to write there"
    os.utime(logs / "dag_id=a" / "run_id=1", (0, 0))
    prune(tmp_path)
    assert [path.name for path in (logs / "dag_id=a").iterdir()] == ["run_id=2"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Airflow links to its latest logs."""
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere / "precious", days=99)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "latest").symlink_to(elsewhere)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "link").symlink_to(elsewhere)
    os.utime(tmp_path / "work" / "link", (0, 0), follow_symlinks=False)
    prune(tmp_path)
    assert (elsewhere / "precious").exists()


def test_nothing_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert prune(tmp_path).kinds == {}
    assert prune_machine(tmp_path / "work", None, work_days=1, log_days=1, dry_run=False).kinds == {}


def test_old_logs_leave_an_object_store(any_store: ArtifactStore) -> None:
    any_store.write_bytes(b"12345", "dag_id=a", "attempt=1.log")
    for days, dry_run, found in ((1, False, {}), (-1, True, {"logs": Removed(items=1, bytes=5)})):
        summary = Summary(dry_run=dry_run)
        prune_logs(any_store, summary, days=days)
        assert summary.kinds == found
        assert len(any_store.files()) == 1
    prune_logs(any_store, Summary(dry_run=False), days=-1)
    assert any_store.files() == []
