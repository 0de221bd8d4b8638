"""An object store that speaks S3's protocol, over real HTTP, and misbehaves where it is told to.

It stands before moto's server, which keeps the objects. As S3 does and moto does not, it applies one write at a time,
so that of two conditional puts one wins, and says when an upload in parts was begun.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.standins.serving import serving

THROTTLED = (503, "SlowDown")
BROKEN = (500, "InternalError")
CONFLICT = (409, "ConditionalRequestConflict")
_HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding"}


@dataclass
class Fault:
    """How some requests are answered in place of what is right.

    :param on: a pattern of ``PUT /bucket/key?query``: the requests that it is for.
    :param every: it meets the last of so many of those.
    :param times: how often; None without end.
    :param answer: status and code of an answer in place of what was asked for.
    :param seconds: wait before that is done.
    :param hang_up: close the connection without an answer, and do nothing.
    :param lose_answer: do it, and close the connection without an answer.
    :param cut: send half of what an object holds, and close the connection.
    """

    on: str = ""
    every: int = 1
    times: int | None = None
    answer: tuple[int, str] | None = None
    seconds: float = 0
    hang_up: bool = False
    lose_answer: bool = False
    cut: bool = False
    asked: int = 0
    met: int = 0

    def meets(self, request: str) -> bool:
        if not re.search(self.on, request) or (self.times is not None and self.met >= self.times):
            return False
        self.asked += 1
        if self.asked % self.every:
            return False
        self.met += 1
        return True


class S3StandIn:
    """The store; ``faults`` hold from when they are set, and the first that is for a request meets it.

    :param port: of moto's server, on this machine.
    """

    def __init__(self, port: int) -> None:
        self.behind = port
        self.faults: list[Fault] = []
        self.ignores: set[str] = set()
        """Headers of writes that it takes no notice of, in small letters."""
        self.lag = 0.0
        """Seconds for which listings do not show what was written."""
        self.begun_before = timedelta(0)
        """By how much uploads in parts were begun earlier than they were."""
        self.requests: list[str] = []
        self.port = 0
        self._written: dict[str, float] = {}
        self._begun: dict[str, datetime] = {}
        self._one_at_a_time = threading.Lock()

    @contextmanager
    def serve(self) -> Iterator[S3StandIn]:
        """Answer until the end of the block."""
        with serving(_Handler, store=self) as self.port:
            yield self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def behave(self) -> None:
        """Be as S3 is again."""
        self.faults, self.ignores, self.lag, self.begun_before = [], set(), 0, timedelta(0)

    def fault(self, request: str) -> Fault | None:
        return next((fault for fault in self.faults if fault.meets(request)), None)

    def ask(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, list[Any], bytes]:
        """Have it done; status, headers and content."""
        headers = {name: value for name, value in headers.items() if name.lower() not in self.ignores}
        if method in ("GET", "HEAD"):
            status, answered, content = self._forward(method, target, headers, body)
            if method == "GET":
                content = self._listed(target, content)
            return status, answered, content
        with self._one_at_a_time:
            status, answered, content = self._forward(method, target, headers, body)
            self._note(method, target, status, content)
        return status, answered, content

    def _forward(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, list[Any], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=60)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def _note(self, method: str, target: str, status: int, content: bytes) -> None:
        """When an object first appeared, and when an upload in parts began."""
        url = urlsplit(target)
        key = unquote(url.path).lstrip("/").partition("/")[2]
        if status < 300 and method == "DELETE":
            self._written.pop(key, None)
        elif status < 300 and method == "PUT" and not url.query.startswith("uploadId"):
            self._written.setdefault(key, time.monotonic())
        for upload in re.findall(rb"<UploadId>([^<]+)", content) if status < 300 and method == "POST" else []:
            self._begun.setdefault(upload.decode(), datetime.now(UTC))

    def _listed(self, target: str, content: bytes) -> bytes:
        if b"<ListMultipartUploadsResult" in content:
            for upload, begun in self._begun.items():
                moment = (begun - self.begun_before).strftime("%Y-%m-%dT%H:%M:%S.000Z")
                pattern = rf"(<UploadId>{re.escape(upload)}</UploadId>.*?<Initiated>)[^<]*"
                content = re.sub(pattern.encode(), rb"\g<1>" + moment.encode(), content, flags=re.DOTALL)
        if self.lag and b"<ListBucketResult" in content:
            since = time.monotonic() - self.lag
            for name, written in self._written.items():
                if written > since:
                    entry = rf"<Contents>\s*<Key>{re.escape(name)}</Key>.*?</Contents>"
                    content = re.sub(entry.encode(), b"", content, flags=re.DOTALL)
            for prefix in re.findall(rb"<CommonPrefixes>\s*<Prefix>([^<]*)", content):
                under = [at for name, at in self._written.items() if name.startswith(prefix.decode())]
                if under and min(under) > since:
                    entry = rb"<CommonPrefixes>\s*<Prefix>" + re.escape(prefix) + rb"</Prefix>\s*</CommonPrefixes>"
                    content = re.sub(entry, b"", content)
            content = re.sub(rb"<KeyCount>\d+", b"<KeyCount>%d" % content.count(b"<Contents>"), content)
        return content


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: S3StandIn

    def handle_request(self) -> None:
        body = self._body()
        request = f"{self.command} {unquote(self.path)}"
        self.store.requests.append(request)
        fault = self.store.fault(request)
        if fault:
            time.sleep(fault.seconds)
        if fault and fault.hang_up:
            return self._hang_up()
        if fault and fault.answer:
            status, code = fault.answer
            content = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
            return self._answer(status, [("Content-Type", "application/xml")], content)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        answer = self.store.ask(self.command, self.path, headers, body)
        if fault and fault.lose_answer:
            return self._hang_up()
        return self._answer(*answer, cut=bool(fault and fault.cut))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, headers: list[Any], content: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length":
                length = value if self.command == "HEAD" else length
            elif name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.wfile.flush()
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the output of the tests clean."""


@contextmanager
def moto() -> Iterator[int]:
    """moto's S3 server in a thread of this process; its port."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()


ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "anything", "AWS_DEFAULT_REGION": "us-east-1"}
"""What a client of it needs, beside ``AWS_ENDPOINT_URL``."""
