"""The artifact store on S3's protocol, as moto's server speaks it, with the real s3fs.

s3fs pins packages that Airflow's constraints have in other versions, so this runs in an environment of its own::

    pip install pytest s3fs==2026.9.0 'moto[s3,server]==5.2.5' universal-pathlib==0.3.10
    python -m pytest -c /dev/null --rootdir . --noconftest tests/include/test_s3.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.storage import ArtifactStore, ChangedError

pytest.importorskip("s3fs", reason="s3fs is installed where the artifact store is on S3 only")
moto_server = pytest.importorskip("moto.server", reason="moto is S3's stand-in, in an environment with s3fs only")

PROJECT = Path(__file__).resolve().parents[2]
START = "import sys\nfrom include.storage import ArtifactStore\nstore = ArtifactStore(sys.argv[1])\n"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "PYTHONPATH": str(PROJECT),
        }.items():
            patch.setenv(name, value)
        ArtifactStore("s3://bucket").root.fs.mkdir("bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture
def root(bucket: str, request: pytest.FixtureRequest) -> str:
    return f"{bucket}/{request.node.name}"


def start(code: str, root: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", START + code, root], env=dict(os.environ), cwd=PROJECT)


def test_what_another_process_writes_is_seen_by_one_that_has_looked_before(root: str) -> None:
    store = ArtifactStore(root)
    store.write_json({"n": 1}, "snapshots", "first.json")
    assert (store.names("snapshots"), store.exists("live.json")) == (["first.json"], False)
    code = "store.write_json({'n': 2}, 'snapshots', 'second.json')\nstore.write_json({}, 'live.json')\n"
    assert start(code, root).wait(60) == 0
    assert (store.names("snapshots"), store.exists("live.json")) == (["first.json", "second.json"], True)
    assert store.read_json("snapshots", "second.json") == {"n": 2}
    code = "store.write_json({'n': 3}, 'snapshots', 'second.json')\nstore.remove('live.json')\n"
    assert start(code, root).wait(60) == 0
    assert (store.read_json("snapshots", "second.json"), store.exists("live.json")) == ({"n": 3}, False)


def test_a_file_is_replaced_only_if_it_is_what_was_read(root: str) -> None:
    store = ArtifactStore(root)
    store.replace_if(None, b"one", "x")
    for expected in (None, b"another"):
        with pytest.raises(ChangedError, match=r"/x was changed by somebody else"):
            store.replace_if(expected, b"two", "x")
    store.replace_if(b"one", b"two", "x")
    assert store.read_bytes("x") == b"two"


def test_a_put_between_the_check_and_ours_is_not_overwritten(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The condition, not the look before it, is what holds."""
    store = ArtifactStore(root)
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


def test_processes_that_change_one_file_lose_nothing(root: str) -> None:
    code = (
        "from include.storage import ChangedError\n"
        "for _ in range(10):\n"
        "    while True:\n"
        "        try:\n"
        "            store.update(lambda before: str(int(before or 0) + 1).encode(), 'count')\n"
        "            break\n"
        "        except ChangedError:\n"
        "            pass\n"
    )
    writers = [start(code, root) for _ in range(3)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    assert ArtifactStore(root).read_bytes("count") == b"30"
