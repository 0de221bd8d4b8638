"""The files as they are, as validation sees them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from include.episodes import raw as room
from include.episodes.columns import COLUMNS
from include.episodes.raw import RawFile
from include.episodes.sources.files import DatasetError
from tests.include.episodes.conftest import WriteDataset, episode

LIMIT = 2**30


def test_values_are_strings_as_they_stand_in_the_file(write_dataset: WriteDataset) -> None:
    folder = write_dataset(episodes=[episode(title=" <b>x</b> ", audio_length="1800", description="")])
    raw = RawFile(folder, "episodes", max_file_bytes=LIMIT)
    table = raw.reader().read_all()
    assert tuple(table.column_names) == COLUMNS["episodes"]
    assert set(table.schema.types) == {pa.string()}
    row = table.to_pylist()[0]
    assert (row["title"], row["audio_length"], row["description"]) == (" <b>x</b> ", "1800", "")
    assert (raw.rows_read, raw.malformed) == (1, 0)


def test_malformed_rows_are_left_out_and_counted(write_dataset: WriteDataset) -> None:
    folder = write_dataset()
    with (folder / "episodes.csv").open("a") as file:
        file.write("e2,too,few\n")
    raw = RawFile(folder, "episodes", max_file_bytes=LIMIT)
    assert len(raw.reader().read_all()) == 1
    assert (raw.rows_read, raw.malformed) == (2, 1)


def test_a_file_without_a_readable_row_still_has_its_columns(write_dataset: WriteDataset) -> None:
    folder = write_dataset()
    (folder / "podcasts.csv").write_text(",".join(COLUMNS["podcasts"]) + "\nx\n")
    raw = RawFile(folder, "podcasts", max_file_bytes=LIMIT)
    table = raw.reader().read_all()
    assert len(table) == len(raw.column("uuid")) == 0
    assert table.column_names == list(COLUMNS["podcasts"])
    assert (raw.rows_read, raw.malformed) == (1, 1)


def test_rows_come_in_order_whatever_the_batches(write_dataset: WriteDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"e{number}" for number in range(5)]
    folder = write_dataset(episodes=[episode(uuid=name) for name in ids])
    monkeypatch.setattr(room, "BATCH_ROWS", 2)
    monkeypatch.setattr("include.episodes.csv_reader.BLOCK_BYTES", 100)
    raw = RawFile(folder, "episodes", max_file_bytes=LIMIT)
    assert raw.column("uuid").num_chunks > 1
    assert raw.column("uuid").to_pylist() == ids
    assert raw.rows_read == len(ids), "reading again counts again"


@pytest.mark.parametrize("name", COLUMNS)
def test_a_missing_column_is_named_with_its_file(write_dataset: WriteDataset, name: str) -> None:
    folder = write_dataset()
    path = folder / f"{name}.csv"
    path.write_text(path.read_text().replace("title", "name", 1))
    with pytest.raises(DatasetError, match=rf"{name}\.csv has no column title"):
        RawFile(Path(folder), name, max_file_bytes=LIMIT).reader().read_all()
