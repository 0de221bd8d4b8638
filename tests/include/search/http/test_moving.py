"""What is live moves, and what it lies in dies, while many ask: no answer is wrong, mixed, or fails to come."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from selectolax.lexbor import LexborHTMLParser

from include.index.contract import EpisodeIndex, Records
from include.index.lancedb import LanceIndex
from include.index.live import LivePointer, require_live
from include.index.pinecone.credentials import Credentials
from include.index.pinecone.index import PineconeIndex
from include.storage import ArtifactStore
from tests.include.index.pinecone.conftest import QUICK
from tests.include.index.workshop import write_live
from tests.include.search.http.conftest import change
from tests.include.search.http.server import open_service, served
from tests.standins.pinecone import Fault, PineconeStandIn

FLIPS = 100
CLIENTS = 6
OTHER = "of the other"
PATHS = ("/search?q=rocket&k=15", "/?q=rocket", "/episodes/e0030", "/episodes/e0031/similar?k=15")


class Asking:
    """Clients that ask on and on, and what they were answered."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.stopped = threading.Event()
        self.wrong: list[str] = []
        self.answers = 0
        self.slowest = 0.0

    def run(self, number: int) -> None:
        with httpx.Client(base_url=self.address, timeout=30) as client:
            while not self.stopped.wait(0.01):
                begun = time.monotonic()
                path = PATHS[(number + self.answers) % len(PATHS)]
                try:
                    answer = client.get(path)
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))
                    return
                self.slowest = max(self.slowest, time.monotonic() - begun)
                self.answers += 1
                if trouble := _trouble(answer):
                    self.wrong.append(f"{path}: {trouble}")


def _trouble(answer: httpx.Response) -> str | None:
    """What is wrong with an answer: all its titles are of what it says that it came from."""
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.text[:200]}"
    if answer.headers["content-type"].startswith("text/html"):
        shown = LexborHTMLParser(answer.text).css("a.title")
        return None if len({OTHER in one.text() for one in shown}) == 1 else "a mixed page"
    found = answer.json()
    titles = [one["title"] for one in (found.get("results") or []) + [found.get("episode")] if one]
    other = found["live"]["namespace"] == "n2"
    return None if titles and all((OTHER in title) == other for title in titles) else f"mixed: {found}"


@pytest.fixture
def two(home: Path, tmp_path: Path) -> tuple[Path, list[LivePointer]]:
    """A home with two namespaces of the same episodes under other titles, and their pointers."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    artifacts = tmp_path / "artifacts"
    live = require_live(ArtifactStore(artifacts))
    shutil.copytree(artifacts / "snapshots" / live.snapshot_id, artifacts / "snapshots" / "s2")
    shutil.copytree(artifacts / "index" / f"{live.namespace}.lance", artifacts / "index" / "n2.lance")
    ids = LanceIndex(str(artifacts / "index")).list_ids(live.namespace)
    change(tmp_path, "n2", {key: {"title": f"A rocket {OTHER}, {key}"} for key in ids})
    return tmp_path, [live, live.model_copy(update={"namespace": "n2", "snapshot_id": "s2"})]


def test_the_pointer_flips_a_hundred_times_under_load(two: tuple[Path, list[LivePointer]]) -> None:
    folder, pointers = two
    store = ArtifactStore(folder / "artifacts")
    with served(open_service(folder), patience=10) as address, ThreadPoolExecutor(CLIENTS) as pool:
        asking = Asking(address)
        clients = [pool.submit(asking.run, number) for number in range(CLIENTS)]
        try:
            with httpx.Client(base_url=address, timeout=30) as watcher:
                for flip in range(1, FLIPS + 1):
                    write_live(store, pointers[flip % 2])
                    deadline = time.monotonic() + 30
                    # Whoever opens it answers from it; until then the others have what was live before.
                    while watcher.get(PATHS[0]).json()["live"]["namespace"] != pointers[flip % 2].namespace:
                        assert time.monotonic() < deadline, "it does not follow"
                metrics = watcher.get("/metrics").text
        finally:
            asking.stopped.set()
        for client in clients:
            client.result(60)
    assert asking.wrong == []
    assert asking.answers > FLIPS
    assert asking.slowest < 10
    assert f"podsearch_live_changes_total {float(FLIPS)}" in metrics


@pytest.fixture
def remote(home: Path, tmp_path: Path) -> Iterator[tuple[Path, PineconeStandIn, EpisodeIndex]]:
    """A home whose live index is in a stand-in for Pinecone."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    store = ArtifactStore(tmp_path / "artifacts")
    live = require_live(store)
    local = LanceIndex(str(tmp_path / "artifacts" / "index"))
    stored = local.fetch(live.namespace, list(local.list_ids(live.namespace)))
    values = np.stack([one.values for one in stored.values()])
    with PineconeStandIn().serve() as standin:
        index = PineconeIndex("podsearch", Credentials(standin.key, host=standin.host), patience=QUICK)
        index.create(live.namespace, values.shape[1])
        index.upsert(live.namespace, [Records(list(stored), values, [one.metadata for one in stored.values()])])
        write_live(store, live.model_copy(update={"backend": "pinecone", "index": "podsearch"}))
        yield tmp_path, standin, index


@pytest.mark.parametrize("fault", [{"hang_up": True}, {"stall": 8.0}, {"status": 503}], ids=str)
def test_a_backend_that_dies_is_told_in_time_and_answers_once_it_is_back(
    remote: tuple[Path, PineconeStandIn, EpisodeIndex], fault: dict[str, bool | float]
) -> None:
    folder, standin, index = remote
    with (
        served(open_service(folder, lambda live: index), seconds=2) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        while client.get("/readyz").status_code != 200:
            pass
        before = client.get(PATHS[0])
        assert before.status_code == 200
        standin.faults = [Fault(on="search", times=10**6, **fault)]  # type: ignore[arg-type]
        for path in PATHS[:2]:
            begun = time.monotonic()
            answer = client.get(path)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert time.monotonic() - begun < 6
        standin.faults = []
        deadline = time.monotonic() + 30
        while (answer := client.get(PATHS[0])).status_code != 200:
            assert time.monotonic() < deadline, answer.text
        assert answer.json()["results"] == before.json()["results"]
