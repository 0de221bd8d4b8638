"""What the tests of the index room share."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.storage import ArtifactStore

for _name in ("contract", "crashes", "model_change", "two_runs", "verification", "workshop"):
    pytest.register_assert_rewrite(f"tests.include.index.{_name}")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")
