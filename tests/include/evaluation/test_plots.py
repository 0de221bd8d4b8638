from __future__ import annotations

import math
import re
from xml.etree import ElementTree

from markupsafe import Markup

from include.evaluation.metrics import Interval
from include.evaluation.plots import VARIABLES, Series, metric_bars, rank_distribution, training_curve

SERIES = [
    Series("live", "Live", {"mrr@30": Interval(mean=0.5, low=0.4, high=0.6), "recall@30": Interval(mean=0.81)}),
    Series("candidate", "Candidate", {"mrr@30": Interval(mean=0.62, low=0.5, high=0.7)}),
]
NAMES = {"mrr@30": "MRR@30", "recall@30": "Recall@30"}


def texts(plot: Markup) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(plot).iter() if element.tag.endswith("text")]


def all_plots(description: str) -> list[Markup]:
    ranks = [Series("live", "Live", {"1": Interval(mean=0.4), "2–3": Interval(mean=0.6)})]
    return [
        metric_bars(SERIES, names=NAMES, description=description),
        rank_distribution(ranks, description=description),
        training_curve([(0, 2.0), (10, 1.0)], description=description),
    ]


def test_plots_show_their_figures() -> None:
    assert {"MRR@30", "Recall@30", "0.50", "0.62", "0.81"} <= set(
        texts(metric_bars(SERIES, names=NAMES, description=""))
    )
    assert {"1", "2–3", "60 %"} <= set(texts(all_plots("")[1]))
    assert "step" in texts(all_plots("")[2])


def test_every_colour_is_one_of_the_page() -> None:
    """A fixed colour would vanish in the dark or in the light."""
    for plot in all_plots("a plot"):
        assert not re.search(r"#[0-9a-f]{6}|#[0-9a-f]{3}\b", re.sub(r'(href="|url\()#\w+', "", plot))
        assert set(re.findall(r"var\((--\w+)\)", plot)) <= set(VARIABLES)
        assert "<style" not in plot


def test_the_description_is_the_text_alternative_and_is_escaped() -> None:
    for plot in all_plots('"><script>alert(1)</script>'):
        root = ElementTree.fromstring(plot)
        assert root.get("role") == "img"
        assert root.get("aria-label") == '"><script>alert(1)</script>'


def test_text_drawn_by_matplotlib_is_escaped() -> None:
    plot = metric_bars(SERIES, names={"mrr@30": "<script>alert(1)</script>"}, description="")
    assert "<script" not in plot
    assert "<script>alert(1)</script>" in texts(plot)


def test_values_that_are_not_numbers_are_not_drawn() -> None:
    plot = training_curve([(0, 2.0), (1, math.nan), (2, 1.0)], description="")
    assert "nan" not in plot.lower()


def test_the_same_data_gives_the_same_plot() -> None:
    assert all_plots("x") == all_plots("x")
