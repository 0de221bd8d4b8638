"""Sorting on disk: the merge of runs is the sorted table, shard by shard, whatever the sizes."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from include.episodes import runs
from include.episodes.runs import SortedRun, SortedRunWriter, merge

Row = tuple[str, int, int]


def rows(count: int) -> list[Row]:
    """Ids in no order, the numbers of their rows, and shards."""
    ids = random.Random(1).sample(range(10 * count), count)
    return [(f"é{key:05d}" if key % 3 else f"{key}", row, key % 2) for row, key in enumerate(ids)]


def table(some: list[Row]) -> pa.Table:
    key, row, shard = zip(*some, strict=True)
    return pa.table({"key": key, "row": pa.array(row, pa.int64()), "shard": pa.array(shard, pa.int32())})


def written(folder: Path, some: list[Row], *, at_once: int = 10) -> list[SortedRun]:
    writer = SortedRunWriter(folder, "rows", key="key")
    for start in range(0, len(some), at_once):
        writer.add(table(some[start : start + at_once]))
    return writer.finish()


def merged(some: list[SortedRun], shard: int, dropped: list[int] | None = None) -> list[tuple[str, int]]:
    mine = [run for run in some if run.shard == shard]
    tables = list(merge(mine, key="key", dropped=dropped or []))
    return [(row["key"], row["row"]) for part in tables for row in part.to_pylist()]


@pytest.mark.parametrize("run_bytes", [1, 1000, 2**20])
@pytest.mark.parametrize("batch_rows", [1, 7, 256])
def test_a_merge_is_sorted_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_bytes: int, batch_rows: int
) -> None:
    monkeypatch.setattr(runs, "RUN_BYTES", run_bytes)
    monkeypatch.setattr(runs, "BATCH_ROWS", batch_rows)
    some = rows(200)
    found = written(tmp_path, some)
    for shard in (0, 1):
        assert merged(found, shard) == sorted((key, row) for key, row, owner in some if owner == shard)


def test_dropped_rows_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a whole batch, or the last one of a run, is dropped."""
    monkeypatch.setattr(runs, "BATCH_ROWS", 4)
    some = rows(50)
    dropped = [*range(20), 49]
    expected = sorted((key, row) for key, row, owner in some if owner == 1 and row not in dropped)
    assert merged(written(tmp_path, some), 1, dropped) == expected
    assert merged(written(tmp_path, some), 1, list(range(50))) == []


def test_ids_that_stand_in_two_runs_stay_beside_each_other(tmp_path: Path) -> None:
    some = [("a", 1, 0), ("b", 2, 0), ("a", 3, 0), ("c", 4, 0), ("b", 5, 0)]
    found = written(tmp_path, some, at_once=1)
    assert merged(found, 0, dropped=[3, 5]) == [("a", 1), ("b", 2), ("c", 4)]


def test_a_merge_of_many_runs_takes_few_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step looks at every run: with a step a batch, time would grow with the square of the catalogue."""
    monkeypatch.setattr(runs, "RUN_BYTES", 1)
    monkeypatch.setattr(runs, "BATCH_ROWS", 16)
    found = [run for run in written(tmp_path, rows(4_000), at_once=200) if run.shard == 0]
    batches = sum(run.last - run.first for run in found)
    assert len(found) == 20
    assert len(list(merge(found, key="key"))) < batches / 6


def test_no_rows_are_no_runs(tmp_path: Path) -> None:
    assert SortedRunWriter(tmp_path, "rows", key="key").finish() == []
    assert list(merge([], key="key")) == []
