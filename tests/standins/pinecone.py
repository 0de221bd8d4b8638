"""A stand-in for Pinecone that the official client talks to over real HTTP: JSON, API version 2026-07.

As Pinecone does, it has one address for the control plane and another for each index. Its limits are Pinecone's.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from tests.standins.pinecone_documents import Documents
from tests.standins.pinecone_planes import BareVectors, Control
from tests.standins.pinecone_schema import BARE, Refusal, StandInIndex
from tests.standins.serving import Server
from tests.standins.vectors import VectorNamespace

VERSION = "2026-07"
MAX_BODY, MAX_ADDRESS = 2 * 2**20, 8_000


@dataclass
class Fault:
    """How some requests are answered in place of what is right.

    :param on: the kind of request, such as ``upsert``, ``search`` (of documents), ``query`` (of bare vectors),
        ``list_ids``, ``create_index``.
    :param times: how many requests; ``after`` so many that are answered well.
    :param status: refuse with it; ``headers`` and ``message`` go along.
    :param hang_up: close the connection without an answer.
    :param stall: seconds without an answer, before the right one.
    :param done: do what is asked for, all the same, before the fault.
    :param part: do it for so many of the records only; and, where there is no other fault, say that it was for all.
    """

    on: str
    times: int = 1
    after: int = 0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "no"
    hang_up: bool = False
    stall: float = 0
    done: bool = False
    part: int | None = None


class PineconeStandIn:
    """A project of Pinecone's; ``faults`` are met in their order, each by the first requests that it is for.

    :param latency: seconds that every answer takes.
    """

    def __init__(self, *, latency: float = 0) -> None:
        self.key = "pcsk_0123456789_abcdefghijkl"
        self.address = f"127.{random.randrange(1, 250)}.{random.randrange(250)}.{random.randrange(1, 250)}"
        """Of its own: the client keeps what it knows of a host for as long as the process lives."""
        self.host = ""
        self.latency = latency
        self.lag = 0.0
        """Seconds until reads show a write."""
        self.words_lag = 0.0
        """Seconds more until a search of words does."""
        self.statistics_lag = 0.0
        """How old counts are."""
        self.ready_after = 0
        """Descriptions of a new index that say that it is not ready."""
        self.indexes: dict[str, StandInIndex] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        """What was asked for, in its order: ``upsert``, ``create_index``, ``list_ids`` and so on."""
        self.batches: list[int] = []
        """Sizes of the upserts that were made."""
        self.written: list[str] = []
        """Ids of what was upserted, and of what was deleted, each as often as it was asked for."""
        self.deleted: list[str] = []
        self.at_once = 0
        """Most requests that were answered at a time."""
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self._now = 0
        self._servers: dict[str, Server] = {}

    @contextmanager
    def serve(self) -> Iterator[PineconeStandIn]:
        """Answer until the end of the block."""
        self.host = f"http://{self._start('', None)}"
        try:
            yield self
        finally:
            self.stopped.set()
            for name in list(self._servers):
                self.stop(name)

    def add_index(self, name: str, fields: dict[str, Any]) -> StandInIndex:
        index = StandInIndex(name, fields)
        index.host = self._start(name, index)
        self.indexes[name] = index
        return index

    def namespace(self, index: str, name: str) -> VectorNamespace:
        return self.indexes[index].namespaces[name]

    def held(self) -> dict[str, dict[str, VectorNamespace]]:
        """Copies of what every index holds, by its name."""
        return {
            name: {own: found.copy() for own, found in index.namespaces.items()} for name, index in self.indexes.items()
        }

    def set_back(self, held: dict[str, dict[str, VectorNamespace]]) -> None:
        """Hold what was held before; indexes that were made since are gone."""
        for name in self.indexes.keys() - held:
            self.stop(name)
            del self.indexes[name]
        for name, namespaces in held.items():
            self.indexes[name].namespaces = {own: found.copy() for own, found in namespaces.items()}

    def count(self, what: str) -> int:
        """How many requests were of one kind."""
        return self.requests.count(what)

    def meet(self, on: str) -> Fault | None:
        """The fault that a request meets, if there is one."""
        with self.lock:
            fault = next((fault for fault in self.faults if fault.on == on), None)
            if fault is None:
                return None
            if fault.after > 0:
                fault.after -= 1
                return None
            fault.times -= 1
            if fault.times <= 0:
                self.faults.remove(fault)
            return fault

    @contextmanager
    def answering(self, what: str) -> Iterator[None]:
        with self.lock:
            self.requests.append(what)
            self._now += 1
            self.at_once = max(self.at_once, self._now)
        try:
            time.sleep(self.latency)
            yield
        finally:
            with self.lock:
                self._now -= 1

    def stop(self, name: str) -> None:
        server = self._servers.pop(name)
        server.shutdown()
        server.server_close()

    def _start(self, name: str, index: StandInIndex | None) -> str:
        standin, of = self, index

        class Handler(_Handler):
            pinecone = standin
            index = of

        server = self._servers[name] = Server((self.address, 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"{self.address}:{server.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    pinecone: PineconeStandIn
    index: StandInIndex | None
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        self._answer("POST")

    def do_GET(self) -> None:
        self._answer("GET")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        what, argument = route(method, urlsplit(self.path).path, control=self.index is None)
        with self.pinecone.answering(what):
            fault = self.pinecone.meet(what)
            if fault is not None:
                done = self._result(what, argument, body, fault.part) if fault.done or fault.part is not None else None
                self.pinecone.stopped.wait(fault.stall)
                if fault.hang_up:
                    self.close_connection = True
                    return
                if fault.status:
                    self._send(fault.status, {"error": {"code": "FAULT", "message": fault.message}}, fault.headers)
                    return
                if done is not None:
                    self._send(*done)
                    return
            status, answer = self._result(what, argument, body)
            self._send(status, answer)

    def _result(self, what: str, argument: str, body: bytes, part: int | None = None) -> tuple[int, Any]:
        try:
            if self.headers.get("Api-Key") != self.pinecone.key:
                raise Refusal(401, "Invalid API Key")
            if self.headers.get("X-Pinecone-Api-Version") != VERSION:
                raise Refusal(400, f"The version is {VERSION}")
            if len(body) > MAX_BODY:
                raise Refusal(413, "Request body too large")
            if len(self.path) > MAX_ADDRESS:
                raise Refusal(414, "Request-URI Too Large")
            parameters = parse_qs(urlsplit(self.path).query)
            asked = orjson.loads(body) if body else {}
            if self.index is None:
                return 200, Control(self.pinecone).answer(what, argument, asked)
            data = (Documents if self.index.has_documents else BareVectors)(self.pinecone, self.index)
            of_documents = "/documents/" in urlsplit(self.path).path
            if of_documents != self.index.has_documents and not what.endswith(
                ("namespace", "namespaces", "statistics")
            ):
                raise Refusal(400, f"The index {self.index.name} does not support this: see its schema")
            if argument:
                asked["namespace" if of_documents else "name"] = argument
            return 200, getattr(data, what)(asked, parameters, part)
        except Refusal as refusal:
            return refusal.status, {"error": {"code": "REFUSED", "message": str(refusal)}}

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = orjson.dumps(value)
        self.send_response(status)
        for name, text in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


def route(method: str, path: str, *, control: bool) -> tuple[str, str]:
    """What a request asks for, and of what."""
    head, _, rest = path.strip("/").partition("/")
    if control or head == "namespaces":
        namespace, _, verb = rest.partition("/documents/")
        if verb:
            return {"list": "list_ids"}.get(verb, verb), unquote(namespace)
        kind = "index" if control else "namespace"
        verb = {"POST": "create", "DELETE": "delete", "GET": "describe" if rest else "list"}[method]
        return f"{verb}_{kind}{'es' if verb == 'list' and control else 's' if verb == 'list' else ''}", unquote(rest)
    return {"query": "query", "describe_index_stats": "statistics", "vectors/list": "list_ids"}.get(
        path.strip("/"), rest
    ), ""


def bare(dimension: int, metric: str = "cosine") -> dict[str, Any]:
    """The fields of an index of bare vectors."""
    return {BARE: {"type": "dense_vector", "dimension": dimension, "metric": metric}}
