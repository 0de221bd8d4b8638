"""Plots of the report, as inline SVG that takes its colours from the page (so they follow light, dark and print).

Matplotlib draws with stand-in colours; the SVG names the page's CSS variables in their place. Figures are made
without pyplot, which keeps global state, and sized for half the page's width, so that their text is as large as the
page's on a laptop and on a phone.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from include.evaluation.metrics import Interval

VARIABLES = ("--ink", "--muted", "--line", "--base", "--live", "--candidate", "--paper")
STAND_INS = {name: f"#0102{number:02x}" for number, name in enumerate(VARIABLES, start=3)}
"""Colour that matplotlib draws with, by the CSS variable that the SVG names instead."""
INK, MUTED, LINE = (STAND_INS[name] for name in ("--ink", "--muted", "--line"))
WIDTH = 5.2
"""Inches; at 72 units an inch about 375 units, the width of a phone and of half a laptop page."""


UNWANTED = (
    r"<metadata>.*?</metadata>",
    r"<!--.*?-->",
    r"<style.*?</style>",  # inline, it would apply to the whole page
    r"<clipPath.*?</clipPath>",
    r' clip-path="[^"]*"',
    r'(?<=<g) id="[^"]*"',  # numbered from one in every figure, and ids must not repeat in a page
    r" font-family: [^;]*;",  # the page's own
    r'<path d="[^"]*" style="fill: #ffffff[^"]*"/>',  # white sheets behind figure and axes
)
"""What matplotlib writes that an inline SVG must not, or need not, have."""


class Series(NamedTuple):
    """What one model adds to a plot."""

    role: str
    """``base``, ``live`` or ``candidate``: decides the colour."""
    label: str
    values: dict[str, Interval]


def metric_bars(series: Sequence[Series], *, names: dict[str, str], description: str) -> Markup:
    """Horizontal bars of each metric for each model, with 95 % intervals.

    :param names: metric to its name, in the order of the plot.
    :param description: what a reader who cannot see the plot is told.
    """
    rows, thickness = list(names), 0.8 / len(series)
    with _figure(0.5 + len(rows) * (0.2 * len(series) + 0.26)) as (figure, axes):
        for place, one in enumerate(series):
            for row, metric in enumerate(rows):
                _bar(axes, row + (place - (len(series) - 1) / 2) * thickness, thickness, one, one.values.get(metric))
        axes.set_yticks(range(len(rows)), [names[row] for row in rows])
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_xlim(0, 1.18)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        axes.grid(axis="x", color=LINE, linewidth=0.7)
        axes.tick_params(axis="y", labelcolor=INK)
        return _svg(figure, description)


def rank_distribution(series: Sequence[Series], *, description: str) -> Markup:
    """Share of queries by the rank of their best relevant episode, side by side for each model."""
    buckets = list(dict.fromkeys(bucket for one in series for bucket in one.values))
    thickness = 0.8 / len(series)
    with _figure(3.2) as (figure, axes):
        for place, one in enumerate(series):
            places = [row + (place - (len(series) - 1) / 2) * thickness for row in range(len(buckets))]
            shares = [one.values[bucket].mean if bucket in one.values else 0.0 for bucket in buckets]
            axes.bar(places, shares, thickness * 0.9, color=STAND_INS[f"--{one.role}"])
        axes.set_xticks(range(len(buckets)), buckets)
        axes.set_xlabel("rank of the first right episode")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        axes.grid(axis="y", color=LINE, linewidth=0.7)
        axes.tick_params(axis="x", labelcolor=INK)
        return _svg(figure, description)


def training_curve(points: Sequence[tuple[int, float]], *, marker: str = "", description: str) -> Markup:
    """A figure by step of the training.

    :param marker: of each point, as Matplotlib names it.
    """
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    with _figure(2.3) as (figure, axes):
        axes.plot(*zip(*finite, strict=True), color=STAND_INS["--candidate"], linewidth=1.6, marker=marker)
        axes.grid(axis="y", color=LINE, linewidth=0.7)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("step")
        return _svg(figure, description)


def _bar(axes: Axes, place: float, thickness: float, series: Series, value: Interval | None) -> None:
    """One bar with its interval and its figure."""
    if value is None or not math.isfinite(value.mean):
        return
    axes.barh(place, value.mean, thickness * 0.86, color=STAND_INS[f"--{series.role}"])
    end = value.mean
    if value.low is not None and value.high is not None:
        # A rim in the page's colour keeps the line apart from its bar, in the light and in the dark.
        for colour, width in ((STAND_INS["--paper"], 3.0), (INK, 1.2)):
            axes.plot([value.low, value.high], [place, place], color=colour, linewidth=width, solid_capstyle="butt")
        end = max(end, value.high)
    axes.text(end + 0.015, place, f"{value.mean:.2f}", va="center", fontsize=10, color=INK)


@contextmanager
def _figure(height: float) -> Iterator[tuple[Figure, Axes]]:
    """No frame, no tick marks, the grid behind the data.

    Text stays text, so that the page's font and colours apply; ids do not change from run to run.
    """
    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "podsearch", "font.size": 11, "axes.unicode_minus": True}
    ):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, colors=MUTED, labelsize=11)
        axes.xaxis.label.set_color(MUTED)
        axes.yaxis.label.set_color(MUTED)
        yield figure, axes


def _svg(figure: Figure, description: str) -> Markup:
    """The figure as an ``<svg>`` element with a text alternative, ready to stand in the page."""
    file = io.StringIO()
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    for unwanted in UNWANTED:
        text = re.sub(unwanted, "", text, flags=re.DOTALL)
    for variable, stand_in in STAND_INS.items():
        text = text.replace(stand_in, f"var({variable})")
    view_box = re.search(r'viewBox="[^"]+"', text)
    body = text[text.index(">") + 1 :]
    # Safe: matplotlib escapes the text it draws, and the description is escaped here.
    return Markup(  # noqa: S704
        f'<svg class="plot" xmlns:xlink="http://www.w3.org/1999/xlink" {view_box.group() if view_box else ""} '
        f'role="img" aria-label="{escape(description)}">{body}'
    )
