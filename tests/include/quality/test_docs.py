from __future__ import annotations

import re

import pandas as pd
import pytest
from selectolax.lexbor import LexborHTMLParser

from include.quality import docs, result
from include.storage import ArtifactStore
from tests.include.quality.conftest import Check

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture
def page(check: Check, store: ArtifactStore, raw_episodes: pd.DataFrame) -> str:
    """The page of a suite, some of whose failing values are hostile."""
    check("raw_episodes", raw_episodes.assign(audio_length=HOSTILE, uuid=[f"{HOSTILE} {n}" for n in range(200)]))
    return store.read_bytes("quality", "run", "data_docs", "raw_episodes.html").decode()


def test_text_of_feeds_is_shown_and_never_becomes_markup(page: str) -> None:
    tree = LexborHTMLParser(page)

    assert not tree.css("script, img, iframe, object, link")
    assert not [node for node in tree.css("*") if any(name.startswith("on") for name in node.attributes)]
    assert tree.body is not None
    shown = tree.body.text()
    # Our table of what was not met, and Great Expectations' own report below it.
    before, report = shown.split("Great Expectations' report")
    assert HOSTILE in before
    assert HOSTILE in report
    assert "&lt;" not in shown, "escaped once, not twice"


def test_a_page_needs_no_network_and_forbids_scripts(page: str, store: ArtifactStore) -> None:
    index = store.read_bytes("quality", "run", "data_docs", "index.html").decode()

    for html in (page, index):
        assert "default-src 'none'" in html
        assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", html)
        assert "@import" not in html
        assert "url(" not in html


def test_links_lead_to_pages_that_exist(page: str, store: ArtifactStore) -> None:
    index = store.read_bytes("quality", "run", "data_docs", "index.html").decode()

    for html in (page, index):
        links = {node.attributes["href"] or "" for node in LexborHTMLParser(html).css("a")}
        assert links
        assert all(store.exists("quality", "run", "data_docs", link) for link in links)


def test_an_index_that_another_task_outdated_is_written_again(
    check: Check, store: ArtifactStore, podcasts: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tasks end at once: the other's result arrives between reading the results and writing the index."""
    check("raw_podcasts", podcasts)
    other = store.read_json("quality", "run", "raw_podcasts.json") | {"suite": "raw_episodes"}
    seen: list[int] = []

    def load_all(store: ArtifactStore, run_name: str) -> list[result.QualityResult]:
        results = result.load_all(store, run_name)
        seen.append(len(results))
        if len(seen) == 1:
            store.write_json(other, "quality", "run", "raw_episodes.json")
        return results

    monkeypatch.setattr(docs, "load_all", load_all)
    check("raw_podcasts", podcasts)

    assert seen == [1, 2, 2]
    assert 'href="raw_episodes.html"' in store.read_bytes("quality", "run", "data_docs", "index.html").decode()


def test_every_part_of_a_page_can_be_rendered(
    check: Check, raw_episodes: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    """Great Expectations logs what it fails to render and leaves it out."""
    broken = raw_episodes.drop(columns="audio_length")
    broken.loc[:, ["title", "description", "pub_date", "podcast_uuid"]] = None

    check("raw_episodes", broken)

    assert [record.message for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
