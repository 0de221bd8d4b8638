"""An installation with Pinecone, which can be set back to where it was, and whose requests can be counted or cut."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from pinecone._internal.bulk import get_registry

from include.index.pinecone import index as index_module
from include.index.pinecone import records as records_module
from include.index.pinecone import write as write_module
from include.index.pinecone.credentials import Credentials
from include.index.pinecone.index import PineconeIndex
from tests.include.index.crashes import BATCH, Home, make_quick
from tests.include.index.pinecone.conftest import QUICK
from tests.include.index.workshop import Fuse, MortalStore, reindex
from tests.standins.pinecone import PineconeStandIn

READS = ("/documents/search", "/documents/fetch", "/documents/list")


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small requests, one after the other: so each moment is the same in every run."""
    make_quick(monkeypatch)
    monkeypatch.setattr(records_module, "REQUEST_RECORDS", BATCH // 2)
    monkeypatch.setattr(write_module, "UPSERTS_AT_ONCE", 1)
    monkeypatch.setattr(index_module, "DELETE_IDS", 1)
    monkeypatch.setattr(index_module, "WRITES_AT_ONCE", 1)
    # Each run is a process of its own, with its own client. To make what TLS needs takes longer than the run.
    unused = ssl.create_default_context()
    monkeypatch.setattr("httpx._transports.default.create_ssl_context", lambda **_: unused)


@contextmanager
def mortal_requests(fuse: Fuse) -> Iterator[None]:
    """Requests of the real client, any of which that writes may be the first that is not sent, or not answered."""
    send = httpx.HTTPTransport.handle_request

    def handle(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if request.method == "GET" or request.url.path.endswith(READS):
            return send(transport, request)
        fuse.moment()
        response = send(transport, request)
        response.read()  # so that it is certain that Pinecone has done it
        fuse.moment()
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.HTTPTransport, "handle_request", handle)
        yield


class PineconeHome(Home):
    """An installation with an index in the stand-in, which is set back together with its files."""

    def __init__(self, folder: Path, action: str, standin: PineconeStandIn) -> None:
        self.standin = standin
        super().__init__(folder, action)
        self.held = standin.held()

    def index(self) -> PineconeIndex:
        return PineconeIndex("podsearch", Credentials(self.standin.key, host=self.standin.host), patience=QUICK)

    def run(self, fuse: Fuse) -> None:
        with mortal_requests(fuse):
            self.run_beside(fuse)

    def run_beside(self, fuse: Fuse) -> None:
        """Another run's requests are not told apart from its own: only the writes to the store are watched."""
        reindex(MortalStore(self.folder / "artifacts", fuse), self.index())

    def set_back(self) -> None:
        super().set_back()
        get_registry()._reset()  # what the client knows of a host, which ends with its process
        self.standin.set_back(self.held)
