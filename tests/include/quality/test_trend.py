from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from selectolax.lexbor import LexborHTMLParser

from include.quality import trend
from include.quality.profile import Profile
from include.quality.templating import HEIGHT, WIDTH
from tests.include.quality.profiles import profile

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
PROFILES = [
    profile(snapshot_id=f"s{day}", created_at=FIRST + timedelta(days=day), shows=1_000 + 10 * day) for day in range(4)
]


def panel(profiles: list[Profile], title: str, published: int = 99) -> trend.Panel:
    return next(one for one in trend.panels(profiles, published=published) if one.title == title)


def test_every_figure_is_in_the_numbers_and_json_can_hold_them() -> None:
    rows = json.loads(json.dumps(trend.rows(PROFILES)))

    assert [row["snapshot_id"] for row in rows] == ["s0", "s1", "s2", "s3"]
    assert rows[0]["figures"]["shows"] == 1_000
    assert rows[0]["figures"]["newest episode"].startswith("2025-12-31")
    assert set(rows[0]["figures"]) == set(profile().figures())


def test_points_stand_in_order_the_larger_the_higher() -> None:
    points = panel(PROFILES, "Shows").points

    assert [point.value for point in points] == [1_000, 1_010, 1_020, 1_030]
    assert [point.x for point in points] == [0, 106.7, 213.3, 320]
    heights = [point.y for point in points]
    assert heights == sorted(heights, reverse=True)
    assert all(0 <= height <= HEIGHT for height in heights)


def test_a_change_of_little_importance_looks_like_one() -> None:
    """The scale is not stretched to fit what hardly moves."""
    shows, repeated = panel(PROFILES, "Shows"), panel(PROFILES, "Episodes that repeat another's text")

    assert shows.high - shows.low >= 100
    assert repeated.high - repeated.low >= 5
    assert repeated.low >= 0


def test_the_main_languages_of_the_last_snapshot_are_drawn_from_when_they_were_none() -> None:
    klingon = profile(languages={"Klingon": 9_000, "English": 1_000})

    assert [point.value for point in panel([*PROFILES, klingon], "Klingon episodes").points] == [0, 0, 0, 0, 90]


def test_a_figure_that_was_not_counted_leaves_a_gap() -> None:
    html = panel([profile(markup=None), profile()], "Descriptions in HTML").points

    assert [(point.x, point.value) for point in html] == [(WIDTH, 40.0)]
    assert "Descriptions in HTML" not in {one.title for one in trend.panels([profile(markup=None)], published=1)}


def test_the_page_needs_no_network_and_no_script_and_tells_the_new_snapshot_apart() -> None:
    page = trend.render(PROFILES, candidate=profile(snapshot_id="new"), home="index.html")
    tree = LexborHTMLParser(page)

    assert "default-src 'none'" in page
    assert not tree.css("script, img, link, iframe")
    assert len(tree.css(".panel")) == len(trend.PANELS) + trend.MAIN_LANGUAGES
    assert all(len(one.css("circle.open")) == 1 for one in tree.css(".panel"))
    assert "snapshot new" in tree.css("circle.open title")[0].text()
    assert [link.attributes["href"] for link in tree.css("a")] == ["index.html"]


def test_names_of_languages_never_become_markup() -> None:
    hostile = "<script>alert(1)</script>"

    tree = LexborHTMLParser(trend.render([profile(languages={hostile: 10_000}, snapshot_id=hostile)]))

    assert not tree.css("script")
    assert f"{hostile} episodes" in [title.text() for title in tree.css(".panel h2")]


def test_there_is_a_page_before_the_first_snapshot() -> None:
    assert "No snapshot has been published yet" in trend.render([])
    assert len(LexborHTMLParser(trend.render([profile()])).css("polyline")) > 0
