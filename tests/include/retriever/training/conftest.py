"""What the tests of training share."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.storage import ArtifactStore


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store" if request.param == "disk" else f"memory://{tmp_path.name}")
