"""The service over a copy of the live index in which some episodes mean harm."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from include.index.contract import Records
from include.index.lancedb import LanceIndex
from include.index.live import require_live
from include.storage import ArtifactStore
from tests.include.search.http.server import open_service, served

SCRIPT = "<script>document.title='broken'</script>"
IMAGE = '"><img src=x onerror="document.title=\'broken\'">'
HARM: dict[str, dict[str, object]] = {
    "e0020": {"title": f"A garden {SCRIPT}", "description": f"Soil {IMAGE}. A tomato & a spade.", "show_title": IMAGE},
    "e0021": {"title": f"Tomato {IMAGE}", "audio_url": "javascript:document.title='broken'"},
    "e0022": {"title": "\u202eSoil\x00 seed", "audio_url": "https://cdn.example/soil.mp3", "categories": SCRIPT},
    "e0030": {"audio_url": "https://cdn.example/rocket.mp3", "duration_seconds": 1_800, "podcast_id": "space"},
    "e0031": {"audio_url": 'https://cdn.example/" onplay="alert(1)', "duration_seconds": 1_801, "podcast_id": "space"},
}


def change(home: Path, namespace: str, changes: dict[str, dict[str, object]]) -> None:
    """Write other metadata to episodes of an index, which keep their vectors."""
    index = LanceIndex(str(home / "artifacts" / "index"))
    stored = index.fetch(namespace, list(changes))
    assert set(stored) == set(changes)
    metadata = [replace(stored[key].metadata, **some) for key, some in changes.items()]  # type: ignore[arg-type]
    values = [stored[key].values for key in changes]
    index.upsert(namespace, [Records(list(changes), np.stack(values), metadata)])
    index.finish(namespace)


@pytest.fixture(scope="session")
def harmful(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("http")
    shutil.copytree(home, copy, dirs_exist_ok=True)
    change(copy, require_live(ArtifactStore(copy / "artifacts")).namespace, HARM)
    return copy


@pytest.fixture(scope="session")
def address(harmful: Path) -> Iterator[str]:
    """Where the service is reached."""
    with served(open_service(harmful)) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client
