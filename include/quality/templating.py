"""The templates that pages of several rooms share, and the plots in them. Light enough for the web server."""

from __future__ import annotations

from pathlib import Path

import jinja2

TEMPLATES = Path(__file__).parent / "templates"
WIDTH, HEIGHT = 320.0, 90.0
"""Of a plot, in units of its SVG."""


def render_template(name: str, folder: Path = TEMPLATES, /, **values: object) -> str:
    """A page: one of the :data:`TEMPLATES`, or one of another folder, which may use them."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(name).render(values, width=WIDTH, height=HEIGHT)
