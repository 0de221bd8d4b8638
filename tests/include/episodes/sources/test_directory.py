from __future__ import annotations

from pathlib import Path

import pytest

from include.episodes.sources.contract import Source
from include.episodes.sources.directory import DirectorySource
from include.errors import PermanentError
from tests.include.episodes.sources.conftest import write_dataset


def test_the_version_is_the_content_and_the_folder_is_what_is_fetched(tmp_path: Path) -> None:
    source: Source = DirectorySource(write_dataset(tmp_path / "dataset"))
    version = source.latest_version()
    assert source.latest_version() == version
    assert source.fetch(version) == tmp_path / "dataset"
    assert str(tmp_path / "dataset") in source.description
    source.published(version)
    assert sorted(file.name for file in (tmp_path / "dataset").iterdir()) == ["episodes.csv", "podcasts.csv"]


def test_a_version_that_is_no_more_is_not_fetched(tmp_path: Path) -> None:
    source = DirectorySource(write_dataset(tmp_path / "dataset"))
    version = source.latest_version()
    write_dataset(tmp_path / "dataset", seed=2)
    assert source.latest_version() != version
    with pytest.raises(PermanentError, match="trigger ingest_episodes again"):
        source.fetch(version)


def test_a_folder_without_the_files_has_no_version(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"none of podcasts\.csv"):
        DirectorySource(tmp_path).latest_version()
