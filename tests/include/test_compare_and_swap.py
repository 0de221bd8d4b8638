"""Files that several runs change: nobody's change is lost, on a folder, on S3, and in a test's memory."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec import AbstractFileSystem
from fsspec.registry import _registry

from include.errors import OvertakenError, PermanentError
from include.index.live import FILE, LivePointer, activate, live_entry, read_live, require_live
from include.storage import ArtifactStore, ChangedError

PROJECT = Path(__file__).resolve().parents[2]
COUNT = (
    "import sys\n"
    "from include.storage import ArtifactStore\n"
    "store = ArtifactStore(sys.argv[1])\n"
    "for _ in range(25):\n"
    "    while True:\n"
    "        try:\n"
    "            store.update(lambda before: str(int(before or 0) + 1).encode(), 'count')\n"
    "            break\n"
    "        except RuntimeError:\n"
    "            pass\n"
)


class ConditionalPuts(AbstractFileSystem):  # type: ignore[misc]
    """What S3 and s3fs do with a put that has a condition."""

    protocol = "s3"
    files: ClassVar[dict[str, bytes]] = {}
    answers_lost = 0

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        if (data := self.files.get(path)) is None:
            raise FileNotFoundError(path)
        return {"name": path, "size": len(data), "type": "file", "ETag": hashlib.md5(data).hexdigest()}

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        return [self.info(path) if detail else path]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        self.info(path)
        return self.files[path]

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        del self.files[path]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        there = self.files.get(path)
        if kwargs.get("IfNoneMatch") == "*" and there is not None:
            raise FileExistsError(errno.EEXIST, "PreconditionFailed")
        if "IfMatch" in kwargs and (there is None or self.info(path)["ETag"] != kwargs["IfMatch"]):
            raise OSError(errno.EINVAL, "PreconditionFailed")
        self.files[path] = value
        if self.answers_lost:
            ConditionalPuts.answers_lost -= 1
            self.pipe_file(path, value, **kwargs)  # as botocore repeats it


@pytest.fixture(params=["folder", "s3", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    if request.param == "folder":
        return ArtifactStore(tmp_path)
    if request.param == "s3":
        monkeypatch.setitem(_registry, "s3", ConditionalPuts)
        monkeypatch.setattr(ConditionalPuts, "files", {})
    return ArtifactStore(f"{request.param}://{tmp_path.name}/podsearch")


def flip(store: ArtifactStore, name: str, seen: str | None = None) -> LivePointer:
    return activate(
        store,
        backend="lancedb",
        index="here",
        namespace=name,
        model_version=name,
        snapshot_id="s1",
        metrics={},
        report=None,
        seen=seen,
    )


def test_a_file_is_replaced_only_if_it_is_what_was_read(store: ArtifactStore) -> None:
    store.replace_if(None, b"one", "a", "x")
    with pytest.raises(ChangedError, match="changed by somebody else"):
        store.replace_if(None, b"two", "a", "x")
    store.replace_if(b"one", b"two", "a", "x")
    with pytest.raises(ChangedError):
        store.replace_if(b"one", b"three", "a", "x")
    assert store.read_bytes("a", "x") == b"two"
    store.remove("a", "x")
    with pytest.raises(ChangedError):
        store.replace_if(b"two", b"three", "a", "x")
    assert not store.exists("a", "x")


def test_a_change_is_decided_again_on_what_another_wrote(store: ArtifactStore) -> None:
    seen: list[bytes | None] = []

    def change(before: bytes | None) -> bytes:
        seen.append(before)
        if len(seen) == 1:
            store.write_bytes(b"another's", "x")
        return (before or b"") + b" and mine"

    store.update(change, "x")
    assert (seen, store.read_bytes("x")) == ([None, b"another's"], b"another's and mine")


def test_one_who_is_always_too_late_is_told(store: ArtifactStore) -> None:
    def change(before: bytes | None) -> bytes:
        store.write_bytes(str(int(before or 0) + 1).encode(), "x")
        return b"mine"

    with pytest.raises(ChangedError):
        store.update(change, "x")


def test_what_went_live_while_an_activation_was_decided_is_not_lost(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = flip(store, "m1")
    decide_before = LivePointer.before
    others = ["m2"]

    def before(self: LivePointer) -> LivePointer:
        if others:
            flip(store, others.pop())
        return decide_before(self)

    monkeypatch.setattr(LivePointer, "before", before)
    with pytest.raises(OvertakenError, match="m2 on snapshot s1"):
        flip(store, "m3", seen=live_entry(first))
    assert require_live(store).namespace == "m2"
    others.append("m4")
    last = flip(store, "m5")
    assert last == read_live(store)
    assert last.previous is not None
    assert last.previous.namespace == "m4", "one can go back to what was live for a moment"


def test_a_damaged_pointer_is_named_and_left_to_a_person(store: ArtifactStore) -> None:
    store.write_bytes(b'{"backend": "lan', FILE)
    with pytest.raises(PermanentError, match=r"live\.json is damaged .* trigger reindex_episodes"):
        flip(store, "m1")
    assert store.read_bytes(FILE) == b'{"backend": "lan'


def test_a_put_whose_answer_was_lost_is_no_change_of_anybody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_registry, "s3", ConditionalPuts)
    monkeypatch.setattr(ConditionalPuts, "files", {})
    store = ArtifactStore(f"s3://{tmp_path.name}/podsearch")
    for name in ("m1", "m2"):
        monkeypatch.setattr(ConditionalPuts, "answers_lost", 1)
        live = flip(store, name, seen=live_entry(read_live(store)))
        assert (live, live.namespace) == (read_live(store), name)
    assert live.previous is not None
    assert live.previous.namespace == "m1"


def test_processes_that_change_one_file_lose_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    writers = [
        subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path)], env=environment, cwd=PROJECT) for _ in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    store = ArtifactStore(tmp_path)
    assert store.read_bytes("count") == b"100"
    assert store.names() == ["count"], "the lock does not show"
