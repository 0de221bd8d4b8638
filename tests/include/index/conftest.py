"""What the tests of the index room share."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.storage import ArtifactStore

pytest.register_assert_rewrite("tests.include.index.contract", "tests.include.index.workshop")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")
