"""A snapshot that is like those before passes; each way of being unlike them is noticed, as gravely as it deserves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from include.quality import drift
from include.quality.profile import Profile
from include.quality.result import ExpectationResult, QualityResult
from include.quality.run import validate
from include.storage import ArtifactStore
from tests.include.quality.profiles import of_size, profile

HISTORY = [of_size(9_800), profile(), of_size(10_100)]


def compare(
    store: ArtifactStore,
    new: Profile,
    history: list[Profile],
    *,
    withdrawn: float | None = 0.0,
) -> QualityResult:
    frame = drift.frame(new, history, withdrawn=withdrawn)
    return validate(frame, drift.suite(new, history, max_shrink=0.2), store=store, run_name="run")


def failed(result: QualityResult) -> dict[str, str]:
    """What was not met, with its severity."""
    return {item.what: item.severity for item in result.outcomes if not item.success}


def outcome(result: QualityResult, what: str) -> ExpectationResult:
    return next(item for item in result.outcomes if item.what == what)


def test_a_catalogue_like_those_before_passes(store: ArtifactStore) -> None:
    result = compare(store, profile(), HISTORY)

    assert failed(result) == {}
    assert len(result.outcomes) > 15


def test_the_first_snapshot_has_nothing_to_be_compared_with_and_says_so(store: ArtifactStore) -> None:
    result = compare(store, profile(), [])

    assert result.success
    assert failed(result) == {"There are earlier snapshots to compare with": "info"}
    assert result.outcomes[0].observed == "0"


def test_a_catalogue_whose_ids_were_renamed_is_stopped(store: ArtifactStore) -> None:
    gone = "Share of the last snapshot's episodes that are gone"

    assert failed(compare(store, profile(), HISTORY, withdrawn=100.0)) == {gone: "critical"}
    assert failed(compare(store, profile(), HISTORY, withdrawn=19.9)) == {}


SHARE = "Share of episodes that repeat the text of another"
DRIFTED: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"shows": 790}, {"Number of shows": "warning"}),
    ({"newest_published_at": datetime(2025, 12, 30, tzinfo=UTC)}, {"Date of the newest episode": "warning"}),
    ({"newest_published_at": None}, {"Date of the newest episode": "warning"}),
    (
        {"languages": {"English": 5_500, "German": 4_000, "Norwegian": 500}},
        {"Share of English episodes": "warning", "Share of German episodes": "warning"},
    ),
    (
        {"languages": {"English": 9_600, "Norwegian": 400}},
        {
            "Share of English episodes": "warning",
            "Share of German episodes": "warning",
            "Share of German episodes, no collapse": "critical",
        },
    ),
    ({"languages": {"English": 6_900, "German": 3_100}}, {"Share of Norwegian episodes, no collapse": "warning"}),
    (
        {"languages": {"English": 6_000, "German": 2_700, "Norwegian": 400, "Klingon": 900}},
        {"Share of Klingon episodes": "warning"},
    ),
    ({"description_chars_median": 200.0}, {"Length of descriptions, median": "warning"}),
    ({"description_chars_mean": 651.0}, {"Length of descriptions, mean": "warning"}),
    ({"markup": 4_800}, {"Share of descriptions in HTML": "warning"}),
    ({"markup": 0}, {"Share of descriptions in HTML": "warning"}),
    ({"repeated": 900}, {SHARE: "warning"}),
    ({"repeated": 2_700}, {SHARE: "warning", f"{SHARE}, no explosion": "critical"}),
    (
        {"quarantined": {"orphan": 1_000, "missing_title": 50}},
        {"Share of rows in quarantine": "warning", "Share of rows in quarantine as orphan": "warning"},
    ),
    (
        {"quarantined": {"bad_encoding": 800}},
        {"Share of rows in quarantine as bad_encoding": "warning"},
    ),
    (
        {"nulls": dict.fromkeys(profile().nulls, 500) | {"audio_url": 1_300}},
        {"Share of episodes without audio_url": "warning"},
    ),
]


@pytest.mark.parametrize(("changes", "noticed"), DRIFTED, ids=lambda value: ", ".join(value))
def test_drift_is_noticed(store: ArtifactStore, changes: dict[str, Any], noticed: dict[str, str]) -> None:
    result = compare(store, profile(**changes), [profile()] * 3)

    assert failed(result) == noticed
    assert result.success == ("critical" not in noticed.values())


UNDRIFTED: list[dict[str, Any]] = [
    {"languages": {"English": 5_900, "German": 3_600, "Norwegian": 500}},
    {"languages": {"English": 6_500, "German": 3_000, "Norwegian": 401, "Klingon": 99}},
    {"repeated": 700},
    {"description_chars_median": 380.0},
    {"quarantined": {}},
    {"nulls": dict.fromkeys(profile().nulls, 0)},
    {"newest_published_at": datetime(2026, 1, 1, tzinfo=UTC)},
]


@pytest.mark.parametrize("changes", UNDRIFTED, ids=lambda value: ", ".join(value))
def test_what_is_within_the_tolerance_passes(store: ArtifactStore, changes: dict[str, Any]) -> None:
    assert failed(compare(store, profile(**changes), HISTORY)) == {}


@pytest.mark.parametrize(("size", "noticed"), [(7_999, {"Number of episodes": "critical"}), (8_000, {}), (50_000, {})])
def test_a_catalogue_may_shrink_as_far_as_the_settings_say(
    store: ArtifactStore, size: int, noticed: dict[str, str]
) -> None:
    assert failed(compare(store, of_size(size), HISTORY)) == noticed


def test_the_words_name_the_figure_its_bounds_and_where_they_come_from(store: ArtifactStore) -> None:
    history = [profile(languages={"English": share}) for share in (6_400, 6_500, 6_600, 6_300, 6_700)]

    result = compare(store, profile(languages={"English": 4_100}), history)

    english = outcome(result, "Share of English episodes")
    assert (english.observed, english.expected) == ("41 %", "between 58 % and 72 %, from the last 5 snapshots")
    length = outcome(result, "Length of descriptions, median")
    assert (length.observed, length.expected) == (
        "300 characters",
        "between 210 and 390 characters, from the last 5 snapshots",
    )
    newest = outcome(result, "Date of the newest episode")
    assert (newest.observed, newest.expected) == ("2025-12-31", "at least 2025-12-31, from the last 5 snapshots")
    one = compare(store, profile(), [profile()])
    assert outcome(one, "Number of episodes").expected == "at least 8000, from the last snapshot"


def test_one_odd_snapshot_in_the_history_neither_hides_drift_nor_makes_it(store: ArtifactStore) -> None:
    odd = profile(languages={"Klingon": 10_000}, repeated=9_000, description_chars_median=5.0)

    assert failed(compare(store, profile(), [*HISTORY, odd])) == {}
    assert "critical" in failed(compare(store, odd, [*HISTORY, odd])).values()


def test_a_catalogue_that_withers_slowly_is_noticed(store: ArtifactStore) -> None:
    """Each snapshot lost less than a run may lose."""
    history = [of_size(size) for size in (10_000, 8_600, 7_400, 6_300, 5_400)]

    assert failed(compare(store, of_size(4_600), history)) == {"Number of episodes": "critical"}


def small(**changes: Any) -> Profile:
    nulls = dict.fromkeys(profile().nulls, 2)
    usual = {"episodes": 60, "shows": 6, "rows_read": 70, "languages": {"English": 50, "German": 10}, "markup": 20}
    return profile(**({**usual, "nulls": nulls, "repeated": 1, "quarantined": {"orphan": 3}} | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"languages": {"English": 60}},
        {"repeated": 40},
        {"episodes": 30, "languages": {"English": 30}},
        {"description_chars_median": 20.0},
        {"quarantined": {"orphan": 20}},
    ],
    ids=lambda value: ", ".join(value),
)
def test_a_small_catalogue_does_not_cry_wolf(store: ArtifactStore, changes: dict[str, Any]) -> None:
    """Few episodes account for the change, however large its share."""
    assert failed(compare(store, small(**changes), [small()] * 3)) == {}


def test_an_empty_catalogue_is_missed_and_breaks_nothing(store: ArtifactStore) -> None:
    empty = profile(episodes=0, shows=0, languages={}, markup=0, repeated=0, nulls=dict.fromkeys(profile().nulls, 0))

    assert failed(compare(store, empty, HISTORY))["Number of episodes"] == "critical"
    assert compare(store, profile(), [empty]).success


def test_a_figure_that_earlier_snapshots_lack_is_not_compared(store: ArtifactStore) -> None:
    result = compare(store, profile(), [profile(markup=None)] * 2)

    assert failed(result) == {}
    assert "Share of descriptions in HTML" not in {item.what for item in result.outcomes}


def test_the_page_shows_every_figure(store: ArtifactStore, caplog: pytest.LogCaptureFixture) -> None:
    """Great Expectations logs what it fails to render and leaves it out."""
    result = compare(store, profile(newest_published_at=None, repeated=3_000), HISTORY)

    page = store.read_bytes("quality", "run", "data_docs", "drift.html").decode()
    assert all(item.what in page.replace("&#39;", "'") for item in result.outcomes)
    assert [record.message for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
