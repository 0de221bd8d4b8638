"""What the tests of the Pinecone backend share: a stand-in, and an index on it that does not wait long."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from pinecone._internal import http_client

from include.index.pinecone.calls import Patience
from include.index.pinecone.credentials import Credentials
from include.index.pinecone.index import PineconeIndex
from tests.standins.pinecone import PineconeStandIn

QUICK = Patience(attempts=4, first_wait=0.01, longest_wait=2, request=5, ready=2, settled=2, poll=0.01)


@pytest.fixture(autouse=True)
def quick_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own waits between attempts, which nothing else can set, are shorter."""
    monkeypatch.setattr(http_client, "_retry_sleep", lambda seconds: time.sleep(seconds / 50))


@pytest.fixture
def standin() -> Iterator[PineconeStandIn]:
    with PineconeStandIn().serve() as served:
        yield served


@pytest.fixture
def credentials(standin: PineconeStandIn) -> Credentials:
    return Credentials(standin.key, host=standin.host)


@pytest.fixture
def index(credentials: Credentials) -> PineconeIndex:
    return PineconeIndex("podsearch", credentials, patience=QUICK)
