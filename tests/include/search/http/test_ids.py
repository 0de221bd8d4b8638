"""An episode is found at its address whatever its id: some catalogues use web addresses as ids."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from selectolax.lexbor import LexborHTMLParser

from include.episodes.quarantine import MAX_ID_CHARS
from include.index.contract import Records
from include.index.lancedb import LanceIndex
from include.index.live import require_live
from include.storage import ArtifactStore
from tests.include.search.http.server import open_service, served

IDS = [
    "https://example.org/?p=12&x=#top",
    "a/b",
    "a/",
    "/a",
    "similar",
    "50%",
    "x%2Fy",
    "a+b;c|d'e\"f\\g<h>",
    "e" * MAX_ID_CHARS,
]


@pytest.fixture(scope="module")
def client(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The service over the small index with more episodes, each of a show with the same id, called a whale."""
    copy = tmp_path_factory.mktemp("ids")
    shutil.copytree(home, copy, dirs_exist_ok=True)
    namespace = require_live(ArtifactStore(copy / "artifacts")).namespace
    index = LanceIndex(str(copy / "artifacts" / "index"))
    stored = index.fetch(namespace, ["e0030"])["e0030"]
    metadata = [replace(stored.metadata, title="whale", podcast_id=key) for key in IDS]
    index.upsert(namespace, [Records(IDS, np.stack([stored.values] * len(IDS)), metadata)])
    with served(open_service(copy)) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


@pytest.mark.parametrize("key", IDS)
def test_programs_read_every_episode(client: httpx.Client, key: str) -> None:
    path = f"/episodes/{quote(key, safe='')}"
    assert client.get(path).raise_for_status().json()["episode"]["id"] == key
    like = client.get(f"{path}/similar", params={"k": 3}).raise_for_status().json()
    assert like["episode"]["id"] == key
    assert key not in {one["id"] for one in like["results"]}


def test_the_links_of_the_page_lead_to_every_episode_and_show(client: httpx.Client) -> None:
    tree = LexborHTMLParser(client.get("/", params={"q": "whale", "mode": "lexical"}).raise_for_status().text)
    links = [str(one.attributes["href"]) for one in tree.css("a.title")]
    assert len(links) == len(IDS)
    for link in links:
        page = LexborHTMLParser(client.get(link).raise_for_status().text)
        assert [one.text() for one in page.css("h1")] == ["whale"]
    shows = [str(one.attributes["href"]) for one in tree.css("a.show")]
    for link in shows:
        page = LexborHTMLParser(client.get(link).raise_for_status().text)
        assert len(page.css(".results > li")) == 1
