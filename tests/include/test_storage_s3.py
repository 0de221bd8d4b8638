"""What a store over the network does to its clients, and they make good."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.errors import RetryLaterError
from include.storage import MANIFEST, ArtifactStore, ChangedError
from tests.include.conftest import start
from tests.standins.s3 import BROKEN, CONFLICT, THROTTLED, Fault, S3StandIn


class TestS3:
    """What a store over the network does to its clients, and they make good."""

    @pytest.mark.parametrize("answer", [THROTTLED, BROKEN])
    def test_a_store_that_throttles_or_fails_is_asked_again(
        self, s3: S3StandIn, s3_store: ArtifactStore, make_folder: Callable[..., Path], answer: tuple[int, str]
    ) -> None:
        source = make_folder("model", a="1", b="2")
        (source / MANIFEST).write_text("{}")
        s3.faults = [fault := Fault(every=3, answer=answer)]
        s3_store.publish_directory(source, "models", "m1")
        s3_store.update(lambda before: b"live", "live.json")
        with s3_store.local_copy("models", "m1") as copy:
            assert (copy / "b").read_text() == "2"
        assert s3_store.names("models") == ["m1"]
        s3_store.remove("models")
        assert s3_store.names("models") == []
        assert s3_store.read_bytes("live.json") == b"live"
        assert fault.met >= 5

    def test_the_waits_are_drawn_at_random(self, s3_store: ArtifactStore) -> None:
        """Else all that were throttled together come back together. botocore's mode ``standard`` does so."""
        s3_store.exists("x")
        assert s3_store.root.fs._s3.meta.config.retries == {"mode": "standard", "total_max_attempts": 6}

    @pytest.mark.parametrize(
        ("act", "methods"),
        [
            (lambda store: store.exists("models", "m1", MANIFEST), ["HEAD"]),
            (lambda store: store.is_complete("models", "m2"), ["HEAD"]),
            (lambda store: store.read_json("models", "m1", MANIFEST), ["GET"]),
            (lambda store: store.read_json_if_there("models", "m2", MANIFEST), ["GET"]),
            (lambda store: store.read_table("models", "m1", "table"), ["GET"]),
            (lambda store: store.names("models"), ["GET"]),
            (lambda store: store.files("models"), ["GET"]),
            (lambda store: store.paths("models"), ["GET"]),
            (lambda store: store.write_json({}, "models", "m3"), ["PUT"]),
        ],
        ids=[
            "exists",
            "is_complete",
            "read_json",
            "read_json_if_there",
            "read_table",
            "names",
            "files",
            "paths",
            "write_json",
        ],
    )
    def test_what_every_task_does_is_one_request(
        self, s3: S3StandIn, s3_store: ArtifactStore, act: Callable[[ArtifactStore], Any], methods: list[str]
    ) -> None:
        """Each takes some hundredths of a second, and a task does it a hundred times."""
        s3_store.write_json({}, "models", "m1", MANIFEST)
        s3_store.write_table(pa.table({"a": [1]}), "models", "m1", "table")
        s3.requests.clear()
        act(s3_store)
        assert [request.split()[0] for request in s3.requests] == methods

    def test_a_store_that_breaks_off_is_asked_again(self, s3: S3StandIn, s3_store: ArtifactStore) -> None:
        s3.faults = [Fault("PUT .*big", times=1, hang_up=True), Fault("GET .*big", times=1, cut=True)]
        s3_store.write_bytes(b"0123456789" * 10_000, "big")
        assert s3_store.read_bytes("big") == b"0123456789" * 10_000
        assert [fault.met for fault in s3.faults] == [1, 1]

    def test_a_put_between_the_look_and_ours_is_not_overwritten(
        self, s3_store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The condition, not the look before it, is what holds."""
        store = s3_store
        for before, file in ((None, "new"), (b"one", "old")):
            if before is not None:
                store.write_bytes(before, file)
            filesystem = store.path(file).fs
            put = filesystem.pipe_file

            def late(path: str, data: bytes, *, put: Any = put, **condition: str) -> None:
                put(path, b"another's")
                put(path, data, **condition)

            with monkeypatch.context() as patch:
                patch.setattr(filesystem, "pipe_file", late)
                with pytest.raises(ChangedError):
                    store.replace_if(before, b"two", file)
            assert store.read_bytes(file) == b"another's"

    def test_a_write_that_meets_another_is_tried_again(self, s3: S3StandIn, s3_store: ArtifactStore) -> None:
        """S3 answers 409 when two conditional puts meet, and neither may have been done."""
        s3.faults = [Fault("PUT .*live.json", times=2, answer=CONFLICT)]
        s3_store.update(lambda before: b"mine", "live.json")
        assert (s3_store.read_bytes("live.json"), s3.faults[0].met) == (b"mine", 2)

    def test_a_put_whose_answer_was_lost_is_decided_on_again(self, s3: S3StandIn, s3_store: ArtifactStore) -> None:
        seen: list[bytes | None] = []

        def change(before: bytes | None) -> bytes | None:
            seen.append(before)
            return None if before == b"mine" else b"mine"

        s3.faults = [Fault("PUT .*live.json", times=1, lose_answer=True)]
        s3_store.update(change, "live.json")
        assert (seen, s3_store.read_bytes("live.json")) == ([None, b"mine"], b"mine")

    def test_what_must_be_right_is_not_taken_from_a_listing(
        self, s3: S3StandIn, s3_store: ArtifactStore, make_folder: Callable[..., Path]
    ) -> None:
        source = make_folder("model", a="1", b="2")
        (source / MANIFEST).write_text("{}")
        s3.lag = 600
        s3_store.publish_directory(source, "models", "m1")
        s3_store.update(lambda before: b"one", "live.json")
        s3_store.update(lambda before: (before or b"") + b" two", "live.json")
        assert s3_store.names("models", "m1") == [], "the listing lags"
        assert s3_store.is_complete("models", "m1")
        assert s3_store.read_bytes("live.json") == b"one two"
        with (
            pytest.raises(RetryLaterError, match="does not show all of s3://bucket/"),
            s3_store.local_copy("models", "m1"),
        ):
            pass
        s3.lag = 0
        with s3_store.local_copy("models", "m1") as copy:
            assert sorted(path.name for path in copy.iterdir()) == ["a", "b", MANIFEST]

    def test_what_a_killed_upload_left_is_aborted_and_one_that_goes_on_is_not(
        self, s3: S3StandIn, s3_store: ArtifactStore
    ) -> None:
        s3_store.write_bytes(b"old", "models", "weights")
        s3.faults = [Fault("PUT .*partNumber=2", seconds=60)]
        code = (
            "from pathlib import Path\n"
            "import tempfile\n"
            "with tempfile.NamedTemporaryFile() as file:\n"
            "    file.truncate(110 * 2**20)\n"
            "    store.write_file(Path(file.name), 'models', 'weights')\n"
        )
        writer = start(code, s3_store)
        deadline = time.monotonic() + 60
        while not s3.faults[0].met and time.monotonic() < deadline:
            time.sleep(0.05)
        assert s3_store.clear_unfinished() == 0
        writer.kill()
        writer.wait(5)
        s3.begun_before = timedelta(days=2)
        assert s3_store.clear_unfinished() == 1
        assert s3_store.clear_unfinished() == 0
        assert s3_store.read_bytes("models", "weights") == b"old"
        assert s3_store.names("models") == ["weights"]
