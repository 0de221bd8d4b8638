"""The artifact store's contract, on each kind of store, and what each kind has of its own."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.errors import PermanentError
from include.storage import MANIFEST, ArtifactStore, ChangedError, digest
from tests.include.conftest import start

PROJECT = Path(__file__).resolve().parents[2]


def at_once(*actions: Callable[[], object]) -> list[object]:
    """Run each in a thread of its own; what they gave."""
    with ThreadPoolExecutor(len(actions)) as pool:
        return [done.result(60) for done in [pool.submit(action) for action in actions]]


COUNT = """
from include.storage import ChangedError
for _ in range(10):
    while True:
        try:
            store.update(lambda before: str(int(before or 0) + 1).encode(), 'count')
            break
        except ChangedError:
            pass
"""


class TestContract:
    """What holds on a disk, in memory and on S3 alike."""

    @pytest.fixture
    def store(self, any_store: ArtifactStore) -> ArtifactStore:
        return any_store

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

    def test_paths_are_those_of_all_files_but_unfinished_ones(self, store: ArtifactStore) -> None:
        for path in (("folder", "b", "2"), ("folder", "a"), ("folder", ".a.unfinished"), ("folders", "c")):
            store.write_bytes(b"x", *path)
        assert store.paths("folder") == [("folder", "a"), ("folder", "b", "2")]
        assert store.paths("nothing") == []

    def test_files_are_told_with_their_size_and_time(self, store: ArtifactStore) -> None:
        began = datetime.now(UTC) - timedelta(seconds=2)
        assert store.files("snapshots") == []
        store.write_bytes(b"123", "snapshots", "one", "part.parquet")
        store.write_bytes(b"1", "snapshots-of-another", "part.parquet")
        (file,) = store.files("snapshots")
        assert (file.path, file.bytes) == (("snapshots", "one", "part.parquet"), 3)
        assert began <= file.modified <= datetime.now(UTC) + timedelta(seconds=2)
        assert store.files(*file.path) == [file]
        assert {one.path[0] for one in store.files()} == {"snapshots", "snapshots-of-another"}

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

    def test_a_file_is_replaced_only_if_it_is_what_was_read(self, store: ArtifactStore) -> None:
        store.replace_if(None, b"one", "a", "x")
        for expected in (None, b"another"):
            with pytest.raises(ChangedError, match=r"x was changed meanwhile"):
                store.replace_if(expected, b"two", "a", "x")
        store.replace_if(b"one", b"two", "a", "x")
        assert store.read_bytes("a", "x") == b"two"
        store.remove("a", "x")
        with pytest.raises(ChangedError):
            store.replace_if(b"two", b"three", "a", "x")
        assert store.read_if_there("a", "x") is None

    def test_a_change_is_decided_again_on_what_another_wrote(self, store: ArtifactStore) -> None:
        seen: list[bytes | None] = []

        def change(before: bytes | None) -> bytes:
            seen.append(before)
            if len(seen) == 1:
                store.write_bytes(b"another's", "x")
            return (before or b"") + b" and mine"

        store.update(change, "x")
        assert (seen, store.read_bytes("x")) == ([None, b"another's"], b"another's and mine")

    def test_one_who_is_always_too_late_is_told(self, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("include.storage.MAX_TRIES", 4)

        def change(before: bytes | None) -> bytes:
            store.write_bytes(str(int(before or 0) + 1).encode(), "x")
            return b"mine"

        with pytest.raises(ChangedError):
            store.update(change, "x")
        assert store.read_bytes("x") == b"4"

    def test_threads_that_change_one_file_lose_nothing(self, store: ArtifactStore) -> None:
        def count() -> None:
            exec(COUNT, {"store": store})

        at_once(count, count, count)
        assert store.read_bytes("count") == b"30"

    def test_of_many_who_make_a_file_one_does(self, store: ArtifactStore) -> None:
        def make(name: bytes) -> bytes:
            try:
                store.replace_if(None, name, "first")
            except ChangedError:
                return b""
            return name

        made = at_once(*[lambda name=b"%d" % number: make(name) for number in range(6)])
        assert [name for name in made if name] == [store.read_bytes("first")]

    def test_several_who_publish_a_directory_at_once_leave_it_whole(
        self, store: ArtifactStore, make_folder: Callable[..., Path]
    ) -> None:
        source = make_folder("model", **{f"part{number}": str(number) * 10_000 for number in range(5)})
        (source / MANIFEST).write_text("{}")
        at_once(*[lambda: store.publish_directory(source, "models", "m1")] * 4)
        assert store.is_complete("models", "m1")
        with store.local_copy("models", "m1") as copy:
            for file in source.iterdir():
                assert (copy / file.name).read_bytes() == file.read_bytes()

    def test_readers_see_the_old_content_or_the_new_never_a_part(self, store: ArtifactStore) -> None:
        size, over = 300_000, threading.Event()
        store.write_bytes(b"0" * size, "file")

        def read() -> None:
            seen: set[int] = set()
            try:
                while len(seen) < 3:
                    data = store.read_bytes("file")
                    assert (len(data), len(set(data))) == (size, 1)
                    seen.add(data[0])
            finally:
                over.set()

        def write() -> None:
            digits = cycle(b"0123456789")
            while not over.is_set():
                store.write_bytes(bytes([next(digits)]) * size, "file")

        at_once(read, write)

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

        file_system = store.path().fs
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


class TestProcesses:
    """What holds among processes: on a disk and on S3."""

    @pytest.fixture
    def store(self, shared_store: ArtifactStore) -> ArtifactStore:
        return shared_store

    def test_they_change_one_file_and_lose_nothing(self, store: ArtifactStore) -> None:
        writers = [start(COUNT, store) for _ in range(3)]
        assert [writer.wait(120) for writer in writers] == [0] * 3
        assert store.read_bytes("count") == b"30"
        assert store.names() == ["count"], "a lock does not show"

    def test_what_one_writes_another_sees_that_has_looked_before(self, store: ArtifactStore) -> None:
        """s3fs, left to itself, remembers what it has listed for ever: a service that runs for weeks went on with what
        it had listed on its first day."""
        store.write_json({"n": 1}, "snapshots", "first.json")
        assert (store.names("snapshots"), store.exists("live.json")) == (["first.json"], False)
        code = "store.write_json({'n': 2}, 'snapshots', 'second.json')\nstore.write_json({}, 'live.json')\n"
        assert start(code, store).wait(60) == 0
        assert (store.names("snapshots"), store.exists("live.json")) == (["first.json", "second.json"], True)
        assert store.read_json("snapshots", "second.json") == {"n": 2}
        code = "store.write_json({'n': 3}, 'snapshots', 'second.json')\nstore.remove('live.json')\n"
        assert start(code, store).wait(60) == 0
        assert (store.read_json("snapshots", "second.json"), store.exists("live.json")) == ({"n": 3}, False)


class TestFolder:
    """What an atomic write on a local disk means."""

    def test_a_killed_writer_leaves_the_old_content_and_what_is_cleared_later(self, tmp_path: Path) -> None:
        store = ArtifactStore(tmp_path)
        store.write_bytes(b"old", "folder", "file")
        writer = start(
            "os.fsync = lambda handle: (print('written', flush=True), time.sleep(60))\n"
            "store.write_bytes(b'new' * 100000, 'folder', 'file')\n",
            store,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        assert store.clear_unfinished() == 0, "who writes is not disturbed"
        writer.kill()
        writer.wait(5)
        assert len(list((tmp_path / "folder").iterdir())) == 2, "the unfinished file is there"
        assert store.names("folder") == ["file"]
        assert store.clear_unfinished(timedelta(0)) == 1
        assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file"]
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


def test_an_object_store_has_no_local_root() -> None:
    assert ArtifactStore("memory://bucket/podsearch").local_root is None


def test_a_store_on_which_changes_could_be_lost_is_refused() -> None:
    with pytest.raises(PermanentError, match="gs://bucket: artifacts can be kept in a folder or on S3"):
        ArtifactStore("gs://bucket")


def test_digests_tell_values_from_their_joins() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a") == digest("a")
    assert len(digest("a", length=24)) == 24
    assert digest("\ud800"), "half a surrogate pair, as broken catalogue text may have"
