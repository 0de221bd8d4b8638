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
    writer = SortedRunWriter(folder, "rows")
    for start in range(0, len(some), at_once):
        writer.add(table(some[start : start + at_once]))
    return writer.finish()


def merged(some: list[SortedRun], shard: int) -> list[tuple[str, int]]:
    mine = [run for run in some if run.shard == shard]
    tables = list(merge(mine))
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


def test_rows_without_a_shard_are_left_out(tmp_path: Path) -> None:
    """Also where a whole run has nothing else."""
    writer = SortedRunWriter(tmp_path, "rows")
    for shards in ([None, 1, 0, None, 1], [None, None]):
        keys = [f"{number}" for number in range(len(shards))]
        writer.add(pa.table({"key": keys, "row": range(len(shards)), "shard": pa.array(shards, pa.int32())}))
        writer._write()
    found = writer.finish()
    assert [merged(found, shard) for shard in (0, 1)] == [[("2", 2)], [("1", 1), ("4", 4)]]


def test_a_merge_of_many_runs_takes_few_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step looks at every run: with a step a batch, time would grow with the square of the catalogue."""
    monkeypatch.setattr(runs, "RUN_BYTES", 1)
    monkeypatch.setattr(runs, "BATCH_ROWS", 16)
    found = [run for run in written(tmp_path, rows(4_000), at_once=200) if run.shard == 0]
    batches = sum(run.last - run.first for run in found)
    assert len(found) == 20
    assert len(list(merge(found))) < batches / 6


def test_no_rows_are_no_runs(tmp_path: Path) -> None:
    assert SortedRunWriter(tmp_path, "rows").finish() == []
    assert list(merge([])) == []
