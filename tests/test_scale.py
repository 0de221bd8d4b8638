"""The model of scale says what was measured, and the page what the model says."""

from __future__ import annotations

from benchmarks import scale
from include.settings import PROJECT

RESULTS = (PROJECT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
PAGE = (PROJECT / "docs" / "scale.md").read_text(encoding="utf-8")
ON_ONE_LINE = " ".join(RESULTS.split())


def test_every_rate_stands_in_the_results() -> None:
    for rate in scale.RATES:
        assert rate.source in ON_ONE_LINE, rate.stage
    assert f"**{scale.PLAN_BYTES} bytes per episode**" in ON_ONE_LINE


def test_the_page_has_what_the_model_says() -> None:
    assert scale.tables() in PAGE
    assert f"some {scale.most_episodes() // 10**6} million episodes" in " ".join(PAGE.split())


def test_the_memory_of_a_plan_is_measured_on_the_plan_that_runs() -> None:
    """Small, so that it says only that the measurement works."""
    assert scale.measure(200) > 10**7
