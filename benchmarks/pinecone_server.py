"""The stand-in for Pinecone as a separate process, so that its work is not counted as a contender's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from include.index.pinecone.credentials import Credentials

if TYPE_CHECKING:
    from pinecone import Index

PROJECT = Path(__file__).resolve().parents[1]
INDEX = "podsearch"


@dataclass(frozen=True)
class Server:
    """Where the stand-in is, and how to be let in."""

    host: str
    key: str
    process: int

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.key, host=self.host)

    def article_index(self, dimension: int) -> Index:
        """An index of bare vectors, and the client's own door to it, as the article has them."""
        from pinecone import Index, Pinecone

        client, name = Pinecone(self.key, host=self.host), f"article-{dimension}"
        if not client.indexes.exists(name):
            client.indexes.create(name=name, dimension=dimension, metric="cosine")
        host = str(client.indexes.describe(name).host)
        return Index(host=f"http://{host.removeprefix('https://')}", api_key=self.key)

    def cpu_seconds(self) -> float:
        """CPU time that it has taken so far."""
        times = psutil.Process(self.process).cpu_times()
        return float(times.user + times.system)


@contextmanager
def served(latency: float) -> Iterator[Server]:
    """A stand-in, until the end of the block.

    :param latency: seconds that every answer takes, besides the work.
    """
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "benchmarks.pinecone_server", str(latency)],
        cwd=PROJECT,
        # Its search is exact, by matrix products that would wait for each other's threads.
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Server(**json.loads(process.stdout.readline()), process=process.pid)
    finally:
        process.stdin.close()
        process.wait()


def main() -> None:
    from tests.standins.pinecone import PineconeStandIn

    with PineconeStandIn(latency=float(sys.argv[1])).serve() as standin:
        print(json.dumps({"host": standin.host, "key": standin.key}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
