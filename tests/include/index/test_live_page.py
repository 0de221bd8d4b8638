"""The page of what is live."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.index.live import HISTORY, LivePointer, change_live, history
from include.index.live_page import live_page
from include.index.watched import Look, note
from include.storage import ArtifactStore

FIRST = LivePointer(
    backend="lancedb",
    index="<b>index</b>",
    namespace="m1-format3",
    model_version="m1",
    snapshot_id="s1",
    metrics={"curated": {"recall@30": 0.5, "mrr@30": 0.25}},
    report="reports/r1/index.html",
    activated_at=datetime(2026, 1, 1, 3, tzinfo=UTC),
)


def later(number: int, **changes: object) -> LivePointer:
    moment = FIRST.activated_at + timedelta(days=number)
    return FIRST.model_copy(update={"model_version": f"m{number}", "activated_at": moment, **changes})


def go_live(store: ArtifactStore, pointer: LivePointer) -> None:
    change_live(store, lambda _: pointer)


def test_before_anything_is_live_it_says_so(tmp_path: object) -> None:
    page = live_page(ArtifactStore(str(tmp_path)))
    assert "Nothing is live yet" in page
    assert "What went live" not in page


def test_it_shows_what_is_live_what_was_before_and_how_each_was_measured(tmp_path: object) -> None:
    store = ArtifactStore(str(tmp_path))
    go_live(store, FIRST)
    assert "nothing to go back to" in live_page(store)
    second = later(2, metrics={"curated": {"recall@30": 0.625}}, previous=FIRST.before(), refused=["m3"])
    go_live(store, second)
    page = live_page(store)
    for shown in (
        "<code>m2</code>",
        "2026-01-03 03:00 UTC",
        "0.625",
        "0.250",
        "reports/r1/index.html",
        "rollback_index",
    ):
        assert shown in page
    assert "A person rolled back from <code>m3</code>" in page
    assert "<b>index" not in page, "whatever a setting says is text"
    assert page.index("0.625") < page.index("0.500")


def test_it_says_who_went_back(tmp_path: object) -> None:
    store = ArtifactStore(str(tmp_path))
    go_live(store, FIRST)
    assert "Approved by" not in live_page(store)
    go_live(store, later(2, approved_by="<b>mia</b>"))
    page = live_page(store)
    assert "Approved by" in page
    assert "&lt;b&gt;mia" in page


def test_the_history_has_each_activation_once_and_the_newest_first(tmp_path: object) -> None:
    store = ArtifactStore(str(tmp_path))
    for number in (2, 3, 4):
        go_live(store, later(number))
    go_live(store, later(4, report="reports/r2/index.html"))  # a task that is repeated
    assert [pointer.model_version for pointer in history(store, most=10)] == ["m4", "m3", "m2"]
    assert [pointer.report for pointer in history(store, most=1)] == ["reports/r2/index.html"]


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\xfe"])
def test_a_damaged_entry_hides_no_other(tmp_path: object, damage: bytes) -> None:
    store = ArtifactStore(str(tmp_path))
    go_live(store, FIRST)
    store.write_bytes(damage, HISTORY, "99990101T000000.000000-x.json")
    assert [pointer.model_version for pointer in history(store, most=10)] == ["m1"]
    assert "<code>m1</code>" in live_page(store)


def test_it_draws_how_search_does_day_by_day(tmp_path: object) -> None:
    """A line a figure, as soon as there are two days; what was not measured leaves a gap and no zero."""
    store = ArtifactStore(str(tmp_path))
    go_live(store, FIRST)
    for day, seconds in ((1, 0.04), (2, None), (3, 0.08)):
        if day == 2:
            assert "Day by day" not in live_page(store)
        moment = FIRST.activated_at + timedelta(days=day)
        values = {
            "at": moment,
            "index": "i",
            "namespace": "<b>m1</b>",
            "records": 1_234,
            "age": 7_200.0,
            "seconds": seconds,
        }
        note(store, Look.model_validate(values))
    page = live_page(store)
    assert page.count("<polyline") == 3, "no cosine was measured"
    for shown in (
        "Episodes in the index over 3 days, last 1,234",
        "hours over 3 days, last 2",
        "ms over 3 days, last 80",
    ):
        assert shown in page
    assert 'points="0.0,45.0 320.0,0.0 "' in page
    assert "<b>m1" not in page
    assert "<span>2026-01-02</span><span>2026-01-04</span>" in page
