"""Data Docs: one page per suite, rendered by Great Expectations, and an index of the run.

Great Expectations' own page template loads a dozen styles and scripts from public servers and puts sampled values into
the page as they are. These pages are read by people who are logged in to Airflow, and the values are text from other
people's feeds. So its renderer builds the content, but the page around it is ours: everything in one file, no script,
a Content-Security-Policy that allows none, and every plain string escaped.
"""

from __future__ import annotations

import html
from functools import cache
from typing import Any

import jinja2
from great_expectations.core import ExpectationSuiteValidationResult
from great_expectations.render.components import RenderedComponentContent
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView

from include.quality.result import DOCS, FOLDER, QualityResult, load_all
from include.quality.templating import TEMPLATES
from include.quality.trend import PAGE
from include.storage import ArtifactStore


class _PageView(DefaultJinjaPageView):
    """Great Expectations' view, with our templates taking precedence and plain strings escaped."""

    _template = "page.html"

    def __init__(self) -> None:
        super().__init__()
        ours = jinja2.FileSystemLoader(TEMPLATES)
        self.env.loader = jinja2.ChoiceLoader([ours, *([self.env.loader] if self.env.loader else [])])

    @jinja2.pass_context
    def render_content_block(
        self,
        jinja_context: Any,
        content_block: Any,
        index: Any = None,
        content_block_id: Any = None,
        render_to_markdown: bool = False,
    ) -> Any:
        """As in the base class; anything that is not a content block is text, and is escaped."""
        if isinstance(content_block, list):
            content_block = [item if _is_block(item) else html.escape(str(item)) for item in content_block]
        elif content_block is not None and not _is_block(content_block):
            return html.escape(str(content_block))
        return super().render_content_block(jinja_context, content_block, index, content_block_id, render_to_markdown)


def _is_block(value: Any) -> bool:
    return isinstance(value, RenderedComponentContent) or (isinstance(value, dict) and "content_block_type" in value)


@cache
def _view() -> _PageView:
    """One for all pages: compiling Great Expectations' templates takes longer than rendering a page."""
    return _PageView()


def write(store: ArtifactStore, result: QualityResult, report: ExpectationSuiteValidationResult) -> None:
    """Write the page of a suite and the index of its run, whose result is in the store already.

    Suites of one run are validated by different processes, perhaps at the same time, and each writes the index. The
    last one to write it looks once more for results that arrived meanwhile, so it ends up complete without a lock.
    """
    folder = (FOLDER, result.run_name, DOCS)
    view = _view()
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(report)
    page = view.render(document, quality=result)
    store.write_bytes(page.encode(), *folder, f"{result.suite}.html")
    index = view.env.get_template("index.html")
    trend = PAGE if store.exists(*folder, PAGE) else None
    results: list[QualityResult] | None = None
    while results != (present := load_all(store, result.run_name)):
        results = present
        store.write_bytes(
            index.render(results=results, run_name=result.run_name, trend=trend).encode(), *folder, "index.html"
        )
