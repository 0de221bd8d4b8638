from __future__ import annotations

from pathlib import Path

import pytest

from include.index.contract import EpisodeIndex
from include.index.lancedb import LanceIndex
from tests.include.index.verification import VerificationContract


class TestEmbeddedVerification(VerificationContract):
    """On the embedded index, which finds every vector here."""

    @pytest.fixture
    def index(self, tmp_path: Path) -> EpisodeIndex:
        return LanceIndex(str(tmp_path / "index"))
