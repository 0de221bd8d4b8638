from __future__ import annotations

import re

import pyarrow as pa
import pytest
from selectolax.lexbor import LexborHTMLParser

from include.episodes import snapshot
from include.episodes.schema import QUARANTINE
from include.quality import pages, profile
from include.quality.result import DamagedResultError, load_all
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import write_snapshot
from tests.include.quality.conftest import Check

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def write(store: ArtifactStore, table: pa.Table, rows: int) -> str:
    columns = {"file": "episodes", "key": HOSTILE, "reason": "orphan", "detail": HOSTILE, "raw": HOSTILE + "x" * 500}
    quarantine = pa.Table.from_pylist([{**columns, "row": number} for number in range(rows)], QUARANTINE)
    return write_snapshot(
        store,
        table,
        source_version="v1",
        shards=1,
        counts={"bad_date": 1_234, "description_in_html": 77},
        quarantined={"orphan": rows, "missing_title": 0} if rows else {},
        quarantine=quarantine,
    ).snapshot_id


def test_a_quarantine_shows_its_reasons_and_its_first_rows(store: ArtifactStore, episodes: pa.Table) -> None:
    page = pages.quarantine(store, write(store, episodes, 1_200))

    tree = LexborHTMLParser(page)
    assert "1,200 rows" in page
    assert [row.text() for row in tree.css("table.reasons tr")[:2]] == ["Kept with a warningRows", "bad_date1,234"]
    assert "The first 500 rows" in page
    assert len(tree.css("td.raw")) == 500
    assert len(page) < 1_000_000


def test_what_a_row_was_is_shown_cut_and_never_becomes_markup(store: ArtifactStore, episodes: pa.Table) -> None:
    tree = LexborHTMLParser(pages.quarantine(store, write(store, episodes, 1)))

    assert not tree.css("script, img")
    raw = tree.css("td.raw")[0].text()
    assert raw.startswith(HOSTILE)
    assert raw.endswith("x…")
    assert len(raw) == pages.RAW_CHARS + 1


def test_an_empty_quarantine_has_a_page(store: ArtifactStore, episodes: pa.Table) -> None:
    assert "0 rows" in pages.quarantine(store, write(store, episodes, 0))


def test_a_snapshot_that_is_not_there_has_none(store: ArtifactStore) -> None:
    with pytest.raises(FileNotFoundError):
        pages.quarantine(store, "unknown")


def test_the_latest_runs_and_snapshots_are_listed_the_newest_first(
    check: Check, store: ArtifactStore, episodes: pa.Table
) -> None:
    check("episodes", episodes, run_name="20260101T020000.v1")
    check("episodes", episodes, run_name="20260102T020000.v2", previous_rows=1_000)
    gone = snapshot.publish(store, write(store, episodes, 2)).snapshot_id
    kept = snapshot.publish(store, write(store, episodes.slice(0, 50), 3)).snapshot_id
    store.remove(snapshot.FOLDER, gone)

    tree = LexborHTMLParser(pages.latest_runs(store))

    links = [link.attributes["href"] for link in tree.css("a")]
    assert links == [
        "quality/trend",
        "quality/20260102T020000.v2/data_docs/index.html",
        "quality/20260101T020000.v1/data_docs/index.html",
        f"snapshots/{kept}/quarantine",
    ]
    assert [cell.text() for cell in tree.css("td.state")] == ["Failed", "Passed"]
    assert [cell.text() for cell in tree.css("td > code")[:2]] == ["ingest_episodes"] * 2
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", link.text()) for link in tree.css("td > a")[:2])
    assert tree.css("tr")[-1].text().endswith("1,234 bad_date")


def test_there_is_a_page_before_the_first_run(store: ArtifactStore) -> None:
    page = pages.latest_runs(store)

    assert "Nothing has been validated yet" in page
    assert "No snapshot has been published yet" in page
    assert "No snapshot has been published yet" in pages.catalogue_trend(store)


def test_the_trend_is_of_published_snapshots(store: ArtifactStore, episodes: pa.Table) -> None:
    key = write(store, episodes, 2)
    profile.record(store, key, starts_history=False)
    assert "No snapshot has been published yet" in pages.catalogue_trend(store)

    snapshot.publish(store, key)

    assert f"snapshot {key}" in pages.catalogue_trend(store)


@pytest.mark.parametrize("torn", [b"", b'{"suite": "epi', b"[1]", b"\xff\xfe"])
def test_what_is_damaged_says_so_and_hides_nothing_else(
    check: Check, store: ArtifactStore, episodes: pa.Table, torn: bytes
) -> None:
    """One torn result took the whole page away, and the trend with one torn profile."""
    check("episodes", episodes, run_name="20260101T020000.v1")
    check("episodes", episodes, run_name="20260102T020000.v2")
    first = snapshot.publish(store, write(store, episodes, 2)).snapshot_id
    second = snapshot.publish(store, write(store, episodes.slice(0, 50), 3)).snapshot_id
    for key in (first, second):
        profile.record(store, key, starts_history=False)
    store.write_bytes(torn, "quality", "20260102T020000.v2", "episodes.json")
    store.write_bytes(torn, "snapshots", second, profile.FILE)
    store.write_bytes(torn, "snapshots", second, "manifest.json")

    tree = LexborHTMLParser(pages.latest_runs(store))

    assert [cell.text() for cell in tree.css("td.state")] == ["Damaged", "Passed"]
    assert "Its manifest is damaged" in tree.text()
    assert f"snapshots/{first}/quarantine" in [link.attributes["href"] for link in tree.css("a")]
    assert [item.snapshot_id for item in profile.published(store, window=5)] == [first]
    assert "<svg" in pages.catalogue_trend(store)


@pytest.mark.parametrize("torn", [b"{", b"[1]", b'{"publications": [1]}'])
def test_a_damaged_list_of_snapshots_is_not_told_as_none(store: ArtifactStore, torn: bytes) -> None:
    store.write_bytes(torn, snapshot.FOLDER, snapshot.LATEST)
    page = pages.latest_runs(store)
    assert "list of published snapshots is damaged" in page
    assert "No snapshot has been published yet" not in page


def test_a_damaged_result_is_named_where_it_is_needed(check: Check, store: ArtifactStore, episodes: pa.Table) -> None:
    check("episodes", episodes, run_name="r")
    store.write_bytes(b"{", "quality", "r", "episodes.json")
    with pytest.raises(DamagedResultError, match=r"quality/r/episodes\.json is damaged: clear the task"):
        load_all(store, "r")
