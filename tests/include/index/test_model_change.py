from __future__ import annotations

from pathlib import Path

import pytest

from include.index.lancedb import LanceIndex
from include.storage import ArtifactStore
from tests.include.index.model_change import assert_search_never_fails


def test_search_goes_on_while_models_change(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_search_never_fails(store, lambda: LanceIndex(str(tmp_path / "index")), monkeypatch)
