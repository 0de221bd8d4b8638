"""The kinds of artifact stores: a folder, an object store in memory, and one that speaks S3's protocol; and an
environment without settings."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from include.settings import PROJECT, SettingsError, get_settings
from include.settings.base import DotEnv
from include.storage import ArtifactStore
from tests.standins.s3 import ENVIRONMENT, S3StandIn, moto


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3StandIn]:
    with moto() as port, S3StandIn(port).serve() as standin:
        yield standin


@pytest.fixture
def s3(s3_server: S3StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3StandIn]:
    """The S3 stand-in, which clients of this test are led to; it has a bucket, and misbehaves when it is told to."""
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": s3_server.url}).items():
        monkeypatch.setenv(name, value)
    ArtifactStore("s3://bucket").root.fs.makedirs("bucket", exist_ok=True)
    s3_server.requests.clear()
    yield s3_server
    s3_server.behave()


@pytest.fixture
def s3_store(s3: S3StandIn) -> ArtifactStore:
    # Not named by the test: fsspec would take its brackets for a pattern.
    return ArtifactStore(f"s3://bucket/{uuid.uuid4().hex}")


@pytest.fixture(params=["folder", "memory", "s3"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """A store of each kind in turn."""
    if request.param == "folder":
        return ArtifactStore(tmp_path / "artifacts")
    if request.param == "memory":
        return ArtifactStore(f"memory://{uuid.uuid4().hex}/podsearch")
    store: ArtifactStore = request.getfixturevalue("s3_store")
    return store


@pytest.fixture(params=["folder", "s3"])
def shared_store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """A store of each kind that processes can share."""
    if request.param == "folder":
        return ArtifactStore(tmp_path / "artifacts")
    store: ArtifactStore = request.getfixturevalue("s3_store")
    return store


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """A local folder with some files."""

    def make(name: str, **files: str) -> Path:
        for path, content in files.items():
            file = tmp_path / name / path.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        return tmp_path / name

    return make


def start(code: str, store: ArtifactStore) -> subprocess.Popen[str]:
    """A process that runs some code with a store of its own."""
    program = "import os, sys, time\nfrom include.storage import ArtifactStore\nstore = ArtifactStore(sys.argv[1])\n"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    arguments = [sys.executable, "-c", program + code, str(store.root)]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True, cwd=PROJECT)


@pytest.fixture
def dotenv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without any of our variables, and an own .env file in place of the project's."""
    for name in [name for name in os.environ if name.startswith("PODSEARCH_")]:
        monkeypatch.delenv(name)
    file = tmp_path / ".env"
    monkeypatch.setattr(DotEnv, "file", file)
    get_settings.cache_clear()
    return file


def error_of(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        get_settings()
    return str(caught.value)
