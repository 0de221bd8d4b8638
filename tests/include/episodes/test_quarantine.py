"""The quarantine's file and its counts."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from include.episodes.quarantine import BrokenRow, Quarantine, Reason
from include.episodes.schema import QUARANTINE


def test_an_empty_quarantine_is_an_empty_table(tmp_path: Path) -> None:
    with Quarantine(tmp_path / "rows.parquet") as quarantine:
        pass
    assert pq.ParquetFile(tmp_path / "rows.parquet").read().schema == QUARANTINE
    assert len(pq.ParquetFile(tmp_path / "rows.parquet").read()) == 0
    assert quarantine.by_reason() == {}


def test_rows_are_counted_by_file_and_by_reason(tmp_path: Path) -> None:
    with Quarantine(tmp_path / "rows.parquet") as quarantine:
        quarantine.add("podcasts", 1, Reason.MISSING_TITLE, key="s1", raw="s1,")
        quarantine.add("episodes", 1, Reason.MISSING_TITLE, key="")
        quarantine.add_broken("episodes", [BrokenRow(2, Reason.BAD_ENCODING, "byte", "raw")])
    assert quarantine.rows_of("podcasts") == 1
    assert quarantine.rows_of("episodes") == 2
    assert quarantine.by_reason() == {"bad_encoding": 1, "missing_title": 2}
    assert pq.ParquetFile(tmp_path / "rows.parquet").read()["key"].to_pylist() == ["s1", None, None]
