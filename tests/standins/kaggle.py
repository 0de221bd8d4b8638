"""A stand-in for Kaggle that the official client talks to, with ``KAGGLE_API_ENVIRONMENT=TEST``, over real HTTP.

The client knows one address for it, ``http://localhost:7777``, so that one stand-in serves at a time on a machine:
others wait for it (a lock on a file). As Kaggle does, it answers a download with a redirect to a storage, at another
address (``127.0.0.1``, another host to HTTP), whose own signature opens it and which must not be sent credentials.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from filelock import FileLock

from tests.standins.serving import serving

PORT = 7777
API = "/api/v1/datasets.DatasetApiService"
LOOK_UP, DOWNLOAD, STORAGE = "GetDataset", "DownloadDataset", "storage"
"""What is asked for: the newest version, the address of a file, the file's bytes."""
SIGNATURE = "signature-of-the-storage"


@dataclass
class Fault:
    """How some requests are answered in place of what is right.

    :param on: which of :data:`LOOK_UP`, :data:`DOWNLOAD`, :data:`STORAGE`.
    :param times: how many requests, one after the other.
    :param status: refuse with it; ``headers`` and ``message`` go along.
    :param sent_as: the status of such an answer, where the right one is only in its body.
    :param hang_up: close the connection without an answer.
    :param cut_at: close the connection after so many bytes of the file (counted from its start).
    :param stall_at: send nothing more after so many bytes, and leave the connection open.
    :param longer: by how much the announced length exceeds what is sent.
    :param flip: offset of a byte that is sent changed.
    :param html: answer with a web page.
    :param publish: make this version the newest as soon as the request is answered.
    """

    on: str
    times: int = 1
    status: int | None = None
    sent_as: int | None = None
    hang_up: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "no"
    cut_at: int | None = None
    stall_at: int | None = None
    longer: int = 0
    flip: int | None = None
    html: bool = False
    publish: int | None = None


class KaggleStandIn:
    """One dataset with its versions; ``faults`` are met in their order, each by the first requests that it is for."""

    def __init__(self, owner: str = "listennotes", name: str = "episodes") -> None:
        self.owner = owner
        self.name = name
        self.token = "KGAT_0123456789abcdef"
        self.username, self.key = "someone", "fedcba9876543210"
        self.versions: dict[int, dict[str, bytes]] = {}
        self.latest = 0
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        """What was asked for, in its order: ``GetDataset``, ``DownloadDataset 1 episodes.csv``, ``storage …``."""
        self.sent = 0
        """Bytes of files that were sent."""
        self.leaks: list[str] = []
        """Requests that brought credentials to where they do not belong."""
        self.ranges = True
        """Whether the storage answers with parts of files."""
        self.checksums = True
        """Whether the storage names the checksum of a file."""
        self.stalled = threading.Event()
        """Set once a download has stalled."""
        self.stopped = threading.Event()

    @property
    def dataset(self) -> str:
        return f"{self.owner}/{self.name}"

    def add_version(self, folder: Path, *, zipped: bool = True) -> int:
        """Publish the CSV files of a folder as the newest version: zips under their plain names, as Kaggle has them."""
        files = {}
        for file in sorted([*folder.glob("*.csv"), *folder.glob("*.csv.zip")]):
            data, name = file.read_bytes(), file.name.removesuffix(".zip")
            files[name] = pack(name, data) if zipped and file.suffix == ".csv" else data
        self.latest = max(self.versions, default=0) + 1
        self.versions[self.latest] = files
        return self.latest

    def forget(self) -> None:
        """Be as it was before the first version: what was published and asked is gone."""
        self.versions.clear()
        self.requests.clear()
        self.stalled.clear()
        self.latest = 0

    def count(self, what: str) -> int:
        """How many requests were of one kind."""
        return sum(request.split()[0] == what for request in self.requests)

    def meet(self, on: str) -> Fault | None:
        """The fault that a request meets, if there is one."""
        fault = next((fault for fault in self.faults if fault.on == on), None)
        if fault is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.faults.remove(fault)
            if fault.publish:
                self.latest = fault.publish
        return fault

    def knows(self, authorization: str) -> bool:
        basic = base64.b64encode(f"{self.username}:{self.key}".encode()).decode()
        return authorization in (f"Bearer {self.token}", f"Basic {basic}")

    @contextmanager
    def serve(self) -> Iterator[KaggleStandIn]:
        """Answer until the end of the block; waits while another stand-in is served on this machine.

        :raises Timeout: it was for half an hour, perhaps by this process.
        """
        with FileLock(Path(tempfile.gettempdir()) / f"kaggle-stand-in-{PORT}.lock", timeout=1800):
            self.stopped.clear()
            with serving(_Handler, port=PORT, kaggle=self):
                try:
                    yield self
                finally:
                    self.stopped.set()


def pack(name: str, data: bytes) -> bytes:
    """A zip with one file in it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


class _Handler(BaseHTTPRequestHandler):
    kaggle: KaggleStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        call = self.path.removeprefix(f"{API}/")
        number = body.get("datasetVersionNumber") or self.kaggle.latest
        name = body.get("fileName", "")
        self.kaggle.requests.append(call if call == LOOK_UP else f"{call} {number} {name}")
        fault = self.kaggle.meet(call)
        if fault and (fault.status or fault.html or fault.hang_up):
            self._refuse(fault)
        elif not self.kaggle.knows(self.headers.get("Authorization", "")):
            self._json(401, {"code": 401, "message": "Unauthenticated"})
        elif (body.get("ownerSlug"), body.get("datasetSlug")) != (self.kaggle.owner, self.kaggle.name):
            self._json(404, {"code": 404, "message": "Dataset not found"})
        elif call == LOOK_UP:
            self._json(200, {"ref": self.kaggle.dataset, "currentVersionNumber": self.kaggle.latest})
        elif name not in self.kaggle.versions.get(number, {}):
            self._json(404, {"code": 404, "message": "Not found"})
        else:
            address = f"http://127.0.0.1:{PORT}/storage/{number}/{quote(name)}?X-Goog-Signature={SIGNATURE}"
            self._answer(302, b"", {"Location": address})

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        _, _, number, name = address.path.split("/")
        self.kaggle.requests.append(f"{STORAGE} {number} {name} {self.headers.get('Range', '')}".strip())
        if self.headers.get("Authorization"):
            self.kaggle.leaks.append(self.path)
        fault = self.kaggle.meet(STORAGE) or Fault(STORAGE)
        if fault.status or fault.html or fault.hang_up:
            self._refuse(fault)
        elif parse_qs(address.query).get("X-Goog-Signature") != [SIGNATURE]:
            self._answer(403, b"<Error>SignatureDoesNotMatch</Error>", {"Content-Type": "application/xml"})
        else:
            self._send_file(self.kaggle.versions[int(number)][name], fault)

    def _send_file(self, data: bytes, fault: Fault) -> None:
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        start = self._start(etag) if self.kaggle.ranges else 0
        if start and start >= len(data):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(data) - start + fault.longer))
        self.send_header("ETag", etag)
        if self.kaggle.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if self.kaggle.checksums:
            md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
            self.send_header("x-goog-hash", "crc32c=AAAAAA==")
            self.send_header("x-goog-hash", f"md5={md5}")
        self.end_headers()
        if fault.flip is not None:
            data = data[: fault.flip] + bytes([data[fault.flip] ^ 0xFF]) + data[fault.flip + 1 :]
        stops = [stop for stop in (fault.cut_at, fault.stall_at, len(data)) if stop is not None]
        self._write(data[start : max(start, min(stops))])
        if fault.stall_at is not None:
            self.kaggle.stalled.set()
            self.kaggle.stopped.wait(60)
        if len(stops) > 1 or fault.longer:
            self.close_connection = True

    def _start(self, etag: str) -> int:
        """Where the part begins that was asked for; 0 where it is the whole file."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found and self.headers.get("If-Range") in (None, etag) else 0

    def _write(self, data: bytes) -> None:
        for position in range(0, len(data), 2**14):
            chunk = data[position : position + 2**14]
            self.wfile.write(chunk)
            self.kaggle.sent += len(chunk)

    def _refuse(self, fault: Fault) -> None:
        if fault.hang_up:
            self.close_connection = True
        elif fault.html:
            page = b"<!DOCTYPE html><html><title>Log in</title></html>"
            self._answer(fault.status or 200, page, {"Content-Type": "text/html; charset=utf-8"} | fault.headers)
        elif fault.status:
            self._json(fault.sent_as or fault.status, {"code": fault.status, "message": fault.message}, fault.headers)

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {}))

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
