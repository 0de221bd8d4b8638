"""The files as they are, as Great Expectations sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.episodes.raw import COLUMNS, read_raw
from include.episodes.schema import QUARANTINE
from include.episodes.source import DatasetError
from tests.include.episodes.conftest import WriteDataset, episode

LIMIT = 2**30


def test_values_are_as_read_and_empty_ones_are_null(write_dataset: WriteDataset) -> None:
    folder = write_dataset(episodes=[episode(title=" <b>x</b> ", audio_length="", description="")])
    raw = read_raw(folder, "episodes", max_file_bytes=LIMIT)
    frame = raw.to_pandas()
    assert tuple(frame.columns) == COLUMNS["episodes"]
    assert frame.loc[0, "title"] == " <b>x</b> "
    assert frame.loc[0, ["audio_length", "description"]].isna().all()
    assert {str(kind) for kind in frame.dtypes} == {"string"}
    assert raw.rows_read == 1


def test_malformed_rows_are_apart_and_counted(write_dataset: WriteDataset) -> None:
    folder = write_dataset()
    with (folder / "episodes.csv").open("a") as file:
        file.write("e2,too,few\n")
    raw = read_raw(folder, "episodes", max_file_bytes=LIMIT)
    assert raw.malformed.schema == QUARANTINE
    assert raw.malformed.to_pylist() == [
        {
            "file": "episodes",
            "row": 2,
            "key": None,
            "reason": "malformed_row",
            "detail": "3 fields instead of 7",
            "raw": "e2,too,few\n",
        }
    ]
    assert (len(raw.table), raw.rows_read) == (1, 2)


def test_a_file_without_a_readable_row_has_an_empty_table(write_dataset: WriteDataset) -> None:
    folder = write_dataset()
    (folder / "podcasts.csv").write_text(",".join(COLUMNS["podcasts"]) + "\nx\n")
    raw = read_raw(folder, "podcasts", max_file_bytes=LIMIT)
    assert len(raw.to_pandas()) == 0
    assert raw.table.column_names == list(COLUMNS["podcasts"])
    assert raw.rows_read == 1


@pytest.mark.parametrize("name", COLUMNS)
def test_a_missing_column_is_named_with_its_file(write_dataset: WriteDataset, name: str) -> None:
    folder = write_dataset()
    path = folder / f"{name}.csv"
    path.write_text(path.read_text().replace("title", "name", 1))
    with pytest.raises(DatasetError, match=rf"{name}\.csv has no column title"):
        read_raw(Path(folder), name, max_file_bytes=LIMIT)
