from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpcore
import pytest

from include.storage import ArtifactStore
from tests.standins.feeds import FeedsStandIn

PUBLIC = "93.184.216.34"
"""A public address; connections to it end at the stand-in."""


@pytest.fixture
def server() -> Iterator[FeedsStandIn]:
    with FeedsStandIn().serve() as standin:
        yield standin


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def feed_list(tmp_path: Path) -> Path:
    return tmp_path / "feeds.txt"


class Names:
    """A name server for ``.example``: an answer may be a list of addresses, or several to be given in turn."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def resolve(self, host: str) -> list[str]:
        self.asked.append(host)
        if host.startswith("missing"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        turns = self.answers.get(host, [["127.0.0.1"]])
        return turns.pop(0) if len(turns) > 1 else turns[0]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Names under ``.example`` resolve without a name server, to 127.0.0.1 unless told otherwise."""
    names, real = Names(), socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        if not str(host).endswith(".example"):
            return real(host, port, *args, **kwargs)
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [
            (family[":" in ip], socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (ip, port)) for ip in names.resolve(host)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that connections were made to. Those to :data:`PUBLIC` end on this machine instead."""
    made: list[str] = []
    real = httpcore.AnyIOBackend.connect_tcp

    async def connect_tcp(self: httpcore.AnyIOBackend, host: str, *args: Any, **kwargs: Any) -> Any:
        made.append(host)
        return await real(self, "127.0.0.1" if host == PUBLIC else host, *args, **kwargs)

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_tcp)
    return made
