"""Parts: the same content has the same hash, and what may not be in a part is refused."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.episodes import parts
from include.episodes.parts import regrouped, write_part
from include.episodes.schema import EPISODES
from tests.include.episodes.catalogue import episode, table

ROWS = [episode(number) for number in range(50)]


@pytest.mark.parametrize("size", [1, 7, 13, 50])
def test_the_hash_is_of_the_content_however_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Slices begin within a byte of Arrow's bitmaps, and share it with rows that are not theirs."""
    monkeypatch.setattr(parts, "GROUP_ROWS", 13)
    whole = write_part(tmp_path / "whole.parquet", 0, [table(ROWS)])
    pieces = [table(ROWS).slice(start, size) for start in range(0, 50, size)]
    part = write_part(tmp_path / "pieces.parquet", 0, pieces)
    assert part.sha256 == whole.sha256
    assert (part.rows, part.shows) == (50, 12)
    assert pq.ParquetFile(part.path).read().cast(EPISODES).equals(table(ROWS))


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"published_at": None}, id="a date is null"),
        pytest.param({"language": None}, id="a text is null"),
        pytest.param({"audio_url": ""}, id="a text is empty and not null"),
        pytest.param({"duration_seconds": 0}, id="a number is 0 and not null"),
        pytest.param({"title": "Episode", "description": "5What is told in number 5"}, id="texts divided otherwise"),
    ],
)
def test_the_hash_tells_contents_apart(tmp_path: Path, changed: dict[str, object]) -> None:
    rows = [*ROWS[:5], {**ROWS[5], "duration_seconds": None, "language": "Thai"}, *ROWS[6:]]
    other = [*rows[:5], {**rows[5], **changed}, *rows[6:]]
    hashes = [write_part(tmp_path / "part.parquet", 0, [table(some)]).sha256 for some in (rows, other)]
    assert hashes[0] != hashes[1]


def test_an_id_that_stands_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one group ends and the next begins."""
    for size in (1, 2):
        monkeypatch.setattr(parts, "GROUP_ROWS", size)
        with pytest.raises(ValueError, match="share an episode_id"):
            write_part(tmp_path / "part.parquet", 0, [table([episode(1), episode(1)])])


def test_a_part_may_be_empty(tmp_path: Path) -> None:
    part = write_part(tmp_path / "part.parquet", 0, [])
    assert (part.rows, part.shows) == (0, 0)
    assert pq.ParquetFile(part.path).schema_arrow.names == EPISODES.names


def test_rows_are_grouped_by_number() -> None:
    tables = [pa.table({"n": list(range(start, start + 5))}) for start in range(0, 25, 5)]
    assert [group["n"].to_pylist() for group in regrouped(tables, 10)] == [
        list(range(10)),
        list(range(10, 20)),
        list(range(20, 25)),
    ]
    assert list(regrouped([tables[0].slice(0, 0)], 10)) == []
