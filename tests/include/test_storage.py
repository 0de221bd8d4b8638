from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from include.storage import MANIFEST, ArtifactStore, digest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["folder", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArtifactStore]:
    """A store of each kind; fsspec's memory file system is an object store without folders of its own."""
    if request.param == "folder":
        yield ArtifactStore(tmp_path / "artifacts")
        return
    found = ArtifactStore(f"memory://{tmp_path.name}")
    yield found
    found.remove()


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


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, stdout=subprocess.PIPE, text=True, cwd=PROJECT
    )


class TestBothKinds:
    """What holds on a disk and on an object store alike."""

    def test_what_was_written_is_read(self, store: ArtifactStore) -> None:
        store.write_bytes(b"one", "a", "x.bin")
        store.write_bytes(b"two", "a", "x.bin")
        store.write_json({"title": "Über 日本", "n": None}, "a", "deep", "x.json")
        table = pa.table({"id": ["a", "b"], "n": [1, None]})
        store.write_table(table, "a", "x.parquet")
        assert store.read_bytes("a", "x.bin") == b"two"
        assert store.read_json("a", "deep", "x.json") == {"title": "Über 日本", "n": None}
        assert store.read_table("a", "x.parquet").equals(table)
        assert store.read_table("a", "x.parquet", columns=["n"]).column_names == ["n"]

    @pytest.mark.parametrize("same_disk", [True, False])
    def test_a_file_is_moved_there(
        self, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_disk: bool
    ) -> None:
        file = tmp_path / "work" / "part"
        file.parent.mkdir()
        file.write_bytes(b"two")
        real = Path.replace

        def replace(path: Path, target: Path) -> Path:
            if path == file and not same_disk:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            return real(path, target)

        monkeypatch.setattr(Path, "replace", replace)
        store.write_bytes(b"one", "a", "x.bin")
        store.move_file(file, "a", "x.bin")
        assert store.read_bytes("a", "x.bin") == b"two"
        assert store.names("a") == ["x.bin"]
        assert not file.exists()

    def test_names_are_sorted_and_empty_for_what_is_not_there(self, store: ArtifactStore) -> None:
        for name in ("b", "a", "c/d"):
            store.write_bytes(b"", "folder", *name.split("/"))
        assert store.names("folder") == ["a", "b", "c"]
        assert store.names("nothing") == []
        assert not store.exists("nothing")

    def test_a_directory_is_published_as_a_whole_and_then_immutable(
        self, store: ArtifactStore, make_folder: Callable[..., Path]
    ) -> None:
        first = make_folder("first", weights="1", deep__file="2")
        (first / MANIFEST).write_text("{}")
        store.publish_directory(first, "models", "m1")
        assert store.is_complete("models", "m1")
        (first / "weights").write_text("changed")
        store.publish_directory(first, "models", "m1")
        assert store.read_bytes("models", "m1", "weights") == b"1"
        with store.local_copy("models", "m1") as folder:
            assert (folder / "deep" / "file").read_text() == "2"

    def test_a_folder_without_a_manifest_is_not_published(
        self, store: ArtifactStore, make_folder: Callable[..., Path]
    ) -> None:
        with pytest.raises(FileNotFoundError, match=MANIFEST):
            store.publish_directory(make_folder("half", weights="1"), "models", "m1")
        assert store.names("models") == []

    def test_an_interrupted_publication_is_not_complete_and_can_be_repeated(
        self, store: ArtifactStore, make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = make_folder("model", a="1", b="2", z__z="3")
        (source / MANIFEST).write_text("{}")
        real = ArtifactStore.write_file
        for allowed in range(4):
            calls = iter(range(allowed))

            def failing(self: ArtifactStore, file: Path, *parts: str, calls: Iterator[int] = calls) -> object:
                if next(calls, None) is None:
                    raise OSError("the disk is gone")
                return real(self, file, *parts)

            with monkeypatch.context() as patch:
                patch.setattr(ArtifactStore, "write_file", failing)
                with pytest.raises(OSError, match="gone"):
                    store.publish_directory(source, "models", "m1")
            assert not store.is_complete("models", "m1")
        store.publish_directory(source, "models", "m1")
        assert store.is_complete("models", "m1")
        assert store.names("models", "m1") == ["a", "b", MANIFEST, "z"]

    def test_what_was_removed_is_gone_and_removing_it_again_is_harmless(self, store: ArtifactStore) -> None:
        store.write_json({}, "folder", MANIFEST)
        store.write_bytes(b"", "folder", "deep", "x")
        store.write_bytes(b"", "other", "y")
        store.remove("folder")
        store.remove("folder")
        store.remove("other", "y")
        assert not store.exists("folder")
        assert store.names("other") == []

    def test_removal_takes_the_manifest_first(self, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
        """Killed in between, a removal leaves what counts as not there."""
        store.write_json({}, "folder", MANIFEST)
        store.write_bytes(b"", "folder", "x")

        file_system = type(store.path().fs)
        remove_one = file_system.rm

        def killed(*arguments: Any, recursive: bool = False, **options: Any) -> None:
            if recursive or store.local_root:
                raise KeyboardInterrupt
            remove_one(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr("shutil.rmtree", killed)
            patch.setattr(file_system, "rm", killed)
            with pytest.raises(KeyboardInterrupt):
                store.remove("folder")
        assert not store.is_complete("folder")
        assert store.names("folder") == ["x"]


class TestFolder:
    """What an atomic write on a local disk means."""

    def test_a_reader_sees_the_old_content_or_the_new_never_a_part(self, tmp_path: Path) -> None:
        store = ArtifactStore(tmp_path)
        size = 300_000
        store.write_bytes(b"0" * size, "file")
        reader = start(
            "import sys\n"
            "from pathlib import Path\n"
            "path, size, seen = Path(sys.argv[1]), int(sys.argv[2]), set()\n"
            "print('ready', flush=True)\n"
            "while not seen >= {b'0'[0], b'9'[0]}:\n"
            "    data = path.read_bytes()\n"
            "    assert len(data) == size and len(set(data)) == 1, (len(data), set(data))\n"
            "    seen.add(data[0])\n",
            str(tmp_path / "file"),
            str(size),
        )
        assert reader.stdout is not None
        reader.stdout.readline()
        deadline = time.monotonic() + 20
        while reader.poll() is None and time.monotonic() < deadline:
            for digit in b"0123456789":
                store.write_bytes(bytes([digit]) * size, "file")
        assert reader.wait(5) == 0

    def test_a_killed_writer_leaves_the_old_content_and_nothing_that_is_listed(self, tmp_path: Path) -> None:
        store = ArtifactStore(tmp_path)
        store.write_bytes(b"old", "folder", "file")
        writer = start(
            "import os, sys, time\n"
            "from include.storage import ArtifactStore\n"
            "os.fsync = lambda handle: (print('written', flush=True), time.sleep(60))\n"
            "ArtifactStore(sys.argv[1]).write_bytes(b'new' * 100000, 'folder', 'file')\n",
            str(tmp_path),
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.kill()
        writer.wait(5)
        assert len(list((tmp_path / "folder").iterdir())) == 2, "the unfinished file is there"
        assert store.names("folder") == ["file"]
        assert store.read_bytes("folder", "file") == b"old"

    def test_a_failed_write_leaves_nothing_behind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_: int) -> None:
            raise OSError("No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            for write, value in (("write_bytes", b"new"), ("write_file", Path(__file__))):
                with pytest.raises(OSError, match="No space"):
                    getattr(ArtifactStore(tmp_path), write)(value, "file")
        assert list(tmp_path.iterdir()) == []

    def test_files_can_be_read_by_whom_the_umask_lets(self, tmp_path: Path) -> None:
        """Components of one installation may run as different users."""
        previous = os.umask(0o022)
        try:
            written = ArtifactStore(tmp_path).write_bytes(b"", "file")
        finally:
            os.umask(previous)
        assert written.stat().st_mode & 0o777 == 0o644

    def test_a_file_url_is_a_local_folder(self, tmp_path: Path) -> None:
        """Else its writes would not be atomic."""
        store = ArtifactStore(f"file://{tmp_path}")
        store.write_bytes(b"x", "file")
        assert store.local_root == tmp_path
        assert (tmp_path / "file").read_bytes() == b"x"

    def test_a_local_directory_is_not_copied(self, tmp_path: Path) -> None:
        with ArtifactStore(tmp_path).local_copy("models", "m1") as folder:
            assert folder == tmp_path / "models" / "m1"


class ListingOnce(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Remembers what it has listed, as s3fs and others do: unless told otherwise, for ever."""

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        path = self._strip_protocol(path)
        if path not in self.dircache:
            self.dircache[path] = super().ls(path, detail=True, **kwargs)
        listed = self.dircache.get(path) or super().ls(path, detail=True, **kwargs)
        return listed if detail else [entry["name"] for entry in listed]

    def exists(self, path: str, **kwargs: Any) -> bool:
        parent = self._parent(path)
        return self._strip_protocol(path) in self.ls(parent, detail=False) if super().exists(parent) else False


def test_what_another_process_publishes_is_seen_by_one_that_has_looked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that runs for weeks went on with what it had listed on its first day."""
    monkeypatch.setitem(_registry, "memory", ListingOnce)
    store = ArtifactStore("memory://bucket")
    store.write_json({}, "snapshots", "first.json")
    assert store.names("snapshots") == ["first.json"]
    another = ListingOnce(skip_instance_cache=True)
    another.pipe_file(store.path("snapshots", "second.json").path, b"{}")
    assert store.names("snapshots") == ["first.json", "second.json"]
    assert store.exists("snapshots", "second.json")


def test_an_object_store_has_no_local_root() -> None:
    assert ArtifactStore("memory://bucket/podsearch").local_root is None


def test_digests_tell_values_from_their_joins() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a") == digest("a")
    assert len(digest("a", length=24)) == 24
    assert digest("\ud800"), "half a surrogate pair, as broken catalogue text may have"
