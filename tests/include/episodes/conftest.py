"""A small dataset in the Kaggle files' shape, to be changed by each test."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from include.episodes.columns import COLUMNS

Rows = list[dict[str, str]]
WriteDataset = Callable[..., Path]


def show(uuid: str = "s1", **changes: str) -> dict[str, str]:
    values = {"title": f"Show {uuid}", "description": f"About {uuid}", "language": "English", "categories": "Arts"}
    return dict.fromkeys(COLUMNS["podcasts"], "") | values | {"uuid": uuid} | changes


def episode(uuid: str = "e1", **changes: str) -> dict[str, str]:
    values = {
        "title": f"Episode {uuid}",
        "audio": f"https://example.org/{uuid}.mp3",
        "audio_length": "60",
        "pub_date": "2017-12-01 05:00:00+00",
        "description": f"What {uuid} is about",
        "podcast_uuid": "s1",
    }
    return values | {"uuid": uuid} | changes


@pytest.fixture
def write_dataset(tmp_path: Path) -> WriteDataset:
    """Write shows and episodes (one good one of each unless given) as CSV, and name their folder."""

    def write(*, shows: Rows | None = None, episodes: Rows | None = None, folder: str = "dataset") -> Path:
        target = tmp_path / folder
        target.mkdir(exist_ok=True)
        tables = {
            "podcasts": [show()] if shows is None else shows,
            "episodes": [episode()] if episodes is None else episodes,
        }
        for name, rows in tables.items():
            with (target / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS[name])
                writer.writeheader()
                writer.writerows(rows)
        return target

    return write
