"""How the catalogue's main figures changed from snapshot to snapshot: the numbers, and a page of small charts.

Nothing is stored: both follow from the profiles beside the published snapshots. The lines are drawn as SVG in the
page's template: the web server can make the page when it is asked for, without a plotting library in its memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.quality.profile import LANGUAGE, Profile
from include.quality.templating import HEIGHT, WIDTH, render_template

PAGE = "trend.html"
WINDOW = 60
"""Snapshots drawn, at most."""
MAIN_LANGUAGES = 4
PANELS = {
    "episodes": ("Episodes", ""),
    "shows": ("Shows", ""),
    "in quarantine": ("Rows in quarantine", "%"),
    "repeated texts": ("Episodes that repeat another's text", "%"),
    "descriptions in HTML": ("Descriptions in HTML", "%"),
    "description length, median": ("Length of descriptions, median", "characters"),
    "without published_at": ("Episodes without a date", "%"),
    "without show_description": ("Episodes whose show has no description", "%"),
}
"""Title and unit of each figure that is drawn, besides the main languages."""


@dataclass(frozen=True)
class Point:
    """One snapshot's figure and where it stands in the plot."""

    x: float
    y: float
    value: float
    day: str
    snapshot_id: str
    published: bool


@dataclass(frozen=True)
class Panel:
    """One figure over the snapshots that have it; ``low`` and ``high`` are the ends of its scale."""

    title: str
    unit: str
    low: float
    high: float
    points: list[Point]


def rows(profiles: Sequence[Profile]) -> list[dict[str, Any]]:
    """Every figure of each snapshot, as JSON can hold it; the oldest first."""
    return [
        {
            "snapshot_id": profile.snapshot_id,
            "source_version": profile.source_version,
            "created_at": profile.created_at.isoformat(),
            "figures": {
                name: value.isoformat() if isinstance(value, datetime) else round(value, 3)
                for name, value in profile.figures().items()
            },
        }
        for profile in profiles
    ]


def render(published: Sequence[Profile], *, candidate: Profile | None = None, home: str | None = None) -> str:
    """The page, complete in itself.

    :param published: profiles of published snapshots, the oldest first.
    :param candidate: the profile of a snapshot that is not published, drawn after the others and marked as such.
    :param home: where the page links back to.
    """
    profiles = [*published, *([candidate] if candidate else [])]
    return render_template(
        PAGE,
        panels=panels(profiles, published=len(published)),
        snapshots=profiles,
        candidate=candidate,
        home=home,
    )


def panels(profiles: Sequence[Profile], *, published: int) -> list[Panel]:
    """The figures to draw: :data:`PANELS` and the languages that are most frequent in the last profile."""
    languages = list(profiles[-1].languages)[:MAIN_LANGUAGES] if profiles else []
    wanted = PANELS | {f"{LANGUAGE}{name}": (f"{name} episodes", "%") for name in languages}
    drawn = [_panel(profiles, published, name, title, unit) for name, (title, unit) in wanted.items()]
    return [panel for panel in drawn if panel.points]


def _panel(profiles: Sequence[Profile], published: int, name: str, title: str, unit: str) -> Panel:
    absent = 0.0 if name.startswith(LANGUAGE) else None
    values = [profile.figures().get(name, absent) for profile in profiles]
    low, high = _scale([value for value in values if isinstance(value, float)], unit)
    step = WIDTH / max(len(profiles) - 1, 1)
    points = [
        Point(
            x=round(place * step, 1),
            y=round(HEIGHT * (high - value) / (high - low), 1),
            value=value,
            day=f"{profile.created_at:%Y-%m-%d}",
            snapshot_id=profile.snapshot_id,
            published=place < published,
        )
        for place, (profile, value) in enumerate(zip(profiles, values, strict=True))
        if isinstance(value, float)
    ]
    return Panel(title, unit, low, high, points)


def _scale(values: Sequence[float], unit: str) -> tuple[float, float]:
    """Ends of the scale: wide enough that an unimportant change looks unimportant."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    least = 5.0 if unit == "%" else max(high / 10, 1.0)
    spare = max(least - (high - low), 0.0) / 2
    low = max(low - spare, 0.0)
    return low, max(high + spare, low + least)
