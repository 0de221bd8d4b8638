"""A small live index of real embeddings by a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.include.search.catalogue import make_live


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a live index; see :func:`tests.include.search.catalogue.make_live`."""
    return make_live(tmp_path_factory.mktemp("search"))
