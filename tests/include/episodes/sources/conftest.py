"""A stand-in for Kaggle, and a source that talks to it with the official client."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from include.episodes.sources.kaggle import KaggleSource
from include.episodes.sources.kaggle_api import Credentials, KaggleApi
from include.storage import ArtifactStore
from tests.standins.kaggle import KaggleStandIn

ROWS = 3_000


def write_dataset(folder: Path, seed: int = 1) -> Path:
    """Two files that do not pack to nothing: some 100 kB each when zipped."""
    letters = random.Random(seed)
    folder.mkdir(exist_ok=True)
    for name, columns in {"podcasts": "uuid,title", "episodes": "uuid,title"}.items():
        rows = [f"{number},{letters.getrandbits(256):x}" for number in range(ROWS)]
        (folder / f"{name}.csv").write_text("\n".join([columns, *rows, ""]))
    return folder


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KaggleStandIn]:
    """Kaggle with a dataset of one version; whatever a test does, the credentials go to nobody else."""
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    standin = KaggleStandIn()
    standin.add_version(write_dataset(tmp_path / "dataset"))
    with standin.serve():
        yield standin
    assert standin.leaks == []


@pytest.fixture(autouse=True)
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged, none of which is a key."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    standin = KaggleStandIn()
    logged = "\n".join(record.getMessage() for when in ("setup", "call") for record in caplog.get_records(when))
    assert standin.token not in logged
    assert standin.key not in logged


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def make_source(kaggle: KaggleStandIn, store: ArtifactStore, tmp_path: Path) -> Callable[..., KaggleSource]:
    """Makes sources as one process after the other would: they share what is on the disk."""

    def make(
        dataset: str = kaggle.dataset,
        *,
        credentials: Credentials | None = None,
        pinned: int | None = None,
        store: ArtifactStore = store,
        max_file_bytes: int = 2**30,
    ) -> KaggleSource:
        api = KaggleApi(credentials or Credentials(kaggle.token), backoff_seconds=0.01, timeout=(2, 0.5))
        return KaggleSource(
            dataset,
            connect=lambda: api,
            store=store,
            work=tmp_path / "work",
            max_file_bytes=max_file_bytes,
            pinned=pinned,
        )

    return make


@pytest.fixture
def source(make_source: Callable[..., KaggleSource]) -> KaggleSource:
    return make_source()
