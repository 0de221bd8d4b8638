from __future__ import annotations

import multiprocessing
from datetime import timedelta
from pathlib import Path

import pytest

from include.alerts.book import FOLDER, Fault, FaultBook
from include.storage import ArtifactStore
from tests.include.alerts.faults import START, alert


@pytest.fixture(params=["disk", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path if request.param == "disk" else f"memory://{tmp_path.name}")


def fault(**values: object) -> Fault:
    return Fault(alert=alert(**values), first_at=START)  # type: ignore[arg-type]


def test_what_is_written_is_read(store: ArtifactStore) -> None:
    book = FaultBook(store)
    kept = fault().model_copy(update={"told": {"mail": START}, "runs": 3})
    book.write(kept)
    assert book.read(kept.fault_id) == kept
    book.remove(kept.fault_id)
    assert book.read(kept.fault_id) is None
    assert book.all() == []


def test_the_oldest_fault_comes_first(store: ArtifactStore) -> None:
    book = FaultBook(store)
    late = Fault(alert=alert(task_id="late"), first_at=START + timedelta(days=1))
    book.write(late)
    book.write(fault())
    with book.locked(late.fault_id):
        assert [item.alert.task_id for item in book.all()] == ["validate_raw_episodes", "late"]


def test_an_entry_that_cannot_be_understood_is_begun_anew(store: ArtifactStore) -> None:
    book = FaultBook(store)
    for content in (b"{", b"{}", b"[1]"):
        store.write_bytes(content, *FOLDER, f"{fault().fault_id}.json")
        assert book.read(fault().fault_id) is None
        assert book.all() == []


def test_each_run_counts_once() -> None:
    """Tasks that are mapped over shards fail together, and a task may be cleared and fail again."""
    found = fault()
    for run in (1, 1, 2, 2, 3):
        found = found.met_again(alert(run, days=run))
    assert found.runs == 3
    assert found.first_at == START
    assert found.alert == alert(3, days=3), "the last alert is the one to show"


def test_another_cause_is_another_fault() -> None:
    told = fault().model_copy(update={"told": {"mail": START}, "runs": 5})
    found = told.met_again(alert(2, days=9, cause="dates"))
    assert (found.runs, found.told, found.first_at) == (1, {}, START + timedelta(days=9))


def test_a_fault_that_comes_back_before_its_end_was_told_goes_on() -> None:
    found = fault().model_copy(update={"told": {"mail": START}, "over_at": START}).met_again(alert(2))
    assert (found.over_at, found.runs, found.told) == (None, 2, {"mail": START})


def hold(folder: Path, held: multiprocessing.Queue[bool], release: multiprocessing.Queue[bool]) -> None:
    with FaultBook(ArtifactStore(folder)).locked("fault") as got:
        held.put(got)
        release.get()


def test_a_fault_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held: multiprocessing.Queue[bool] = context.Queue()
    release: multiprocessing.Queue[bool] = context.Queue()
    other = context.Process(target=hold, args=(tmp_path, held, release), daemon=True)
    other.start()
    assert held.get(timeout=10)
    book = FaultBook(ArtifactStore(tmp_path), lock_seconds=0.2)
    with book.locked("fault") as got:
        assert not got
    with book.locked("fault", wait=False) as got:
        assert not got
    with book.locked("another") as got:
        assert got
    assert other.pid is not None
    other.kill()  # whoever dies lets go
    other.join()
    with book.locked("fault") as got:
        assert got
