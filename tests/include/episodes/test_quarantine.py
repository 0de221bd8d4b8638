"""The quarantine's table and its counts."""

from __future__ import annotations

from include.episodes.quarantine import BrokenRow, Quarantine, Reason
from include.episodes.schema import QUARANTINE


def test_an_empty_quarantine_is_an_empty_table() -> None:
    quarantine = Quarantine()
    assert quarantine.table().schema == QUARANTINE
    assert len(quarantine.table()) == 0
    assert quarantine.by_reason() == {}


def test_rows_are_counted_by_file_and_by_reason() -> None:
    quarantine = Quarantine()
    quarantine.add("podcasts", 1, Reason.MISSING_TITLE, key="s1", raw="s1,")
    quarantine.add("episodes", 1, Reason.MISSING_TITLE, key="")
    quarantine.add_broken("episodes", [BrokenRow(2, Reason.BAD_ENCODING, "byte", "raw")])
    assert quarantine.rows_of("podcasts") == 1
    assert quarantine.rows_of("episodes") == 2
    assert quarantine.by_reason() == {"bad_encoding": 1, "missing_title": 2}
    assert quarantine.table()["key"].to_pylist() == ["s1", None, None]
