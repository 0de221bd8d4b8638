"""The pages for people, rendered on the server: no script, and nothing from another host until somebody plays it.

A page whose searches are recorded has a few lines of script, which report what was played.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from include.search.folding import visible
from include.search.http import shown
from include.search.http.asked import PAGE, Question
from include.search.service import MAX_RESULTS, Answer, Result, Similar

TEMPLATES = Path(__file__).parent / "templates"
STYLE = (TEMPLATES / "style.css").read_bytes()
ICON = (TEMPLATES / "icon.svg").read_bytes()
SCRIPT = (TEMPLATES / "listened.js").read_text(encoding="utf-8")
"""Reports how long an episode was played; only pages that are recorded contain it."""
VERSION = hashlib.sha256(STYLE + ICON).hexdigest()[:12]
"""Version of style and icon: browsers cache them until they change."""
FACETS = 8
"""The most languages and shows offered for narrowing an answer."""
SHOWS = 100
"""How many show titles are suggested while typing: the largest shows."""
EXAMPLES = 8
"""Shows that are named as examples."""
LENGTHS = (("up to 20 minutes", None, 20), ("20 to 60 minutes", 20, 60), ("an hour or more", 60, None))
PER_SHOW = (("one episode", 1), ("three episodes", 3), ("any number", 0))
MODES = (("hybrid", "Meaning and words"), ("dense", "Meaning alone"), ("lexical", "Words alone"))


class Choice(NamedTuple):
    """Something to narrow an answer by, and how many of its results match."""

    label: str
    link: str
    number: int | None
    chosen: bool = False


def search(
    question: Question,
    answer: Answer | None,
    *,
    shows: Sequence[str] = (),
    meant: str | None = None,
    message: str = "",
    search_id: str | None = None,
    kept_days: int = 0,
) -> str:
    """The page of a query, or the start page if there is none.

    :param answer: all of its results.
    :param shows: titles to suggest while typing; the first are shown as examples if there are no results.
    :param meant: how the query may have been meant.
    :param message: what was wrong with the question.
    :param search_id: under which the search is recorded, if it is.
    :param kept_days: for how long searches are kept; 0 if they are not.
    """
    results = answer.results if answer else []
    first = (question.page - 1) * PAGE
    return _render(
        "search.html",
        question=question,
        kept=question.model_dump(mode="json", exclude_defaults=True, exclude={"q", "page"}),
        answer=answer,
        results=list(enumerate(results, start=1))[first : first + PAGE],
        pages=-(-len(results) // PAGE),
        most=MAX_RESULTS,
        filters=_filters(question, results),
        narrow=_narrow(question, results) if answer else {},
        shows=shows,
        examples=shows[:EXAMPLES],
        meant=meant,
        message=message,
        search_id=search_id,
        kept_days=kept_days,
    )


def similar(episode_id: str, answer: Similar, *, search_id: str | None = None, kept_days: int = 0) -> str:
    """The page of one episode, and of those like it.

    :param search_id: of the search that found it, if that is recorded.
    :param kept_days: for how long searches are kept; 0 if they are not.
    """
    return _render(
        "similar.html",
        question=Question(),
        episode_id=episode_id,
        metadata=answer.metadata,
        answer=answer,
        results=list(enumerate(answer.results, start=1)),
        search_id=search_id,
        kept_days=kept_days,
    )


def message(title: str, text: str) -> str:
    """A page with a message."""
    return _render("message.html", question=Question(), title=title, text=text)


def _filters(question: Question, results: Sequence[Result]) -> list[Choice]:
    """The active filters, each with the link that removes it."""
    show = next((one.metadata.show_title for one in results if one.metadata.podcast_id == question.show), question.show)
    named = {
        "language": question.language,
        "show": show,
        "since": question.since and f"since {question.since}",
        "until": question.until and f"until {question.until}",
        "shortest": question.shortest and f"at least {question.shortest} min",
        "longest": question.longest and f"up to {question.longest} min",
    }
    return [Choice(str(label), question.link(**{name: None}), None) for name, label in named.items() if label]


def _narrow(question: Question, results: Sequence[Result]) -> dict[str, list[Choice]]:
    """What an answer can be narrowed by, under headings."""
    languages = Counter(one.metadata.language for one in results if one.metadata.language)
    shows = Counter((one.metadata.show_title, one.metadata.podcast_id) for one in results if one.metadata.podcast_id)
    chosen = (question.shortest, question.longest)
    choices = {
        "Language": [
            Choice(name, question.link(language=name), count) for name, count in languages.most_common(FACETS)
        ],
        "Show": [Choice(title, question.link(show=key), count) for (title, key), count in shows.most_common(FACETS)],
        "Length": [
            Choice(label, question.link(shortest=low, longest=high), None, (low, high) == chosen)
            for label, low, high in LENGTHS
        ],
        "Per show": [
            Choice(label, question.link(per_show=most), None, most == question.per_show) for label, most in PER_SHOW
        ],
        "Search by": [
            Choice(label, question.link(mode=None if mode == "hybrid" else mode), None, mode == question.mode)
            for mode, label in MODES
        ],
    }
    given = {"Language": question.language, "Show": question.show, "Per show": question.show}
    return {name: some for name, some in choices.items() if some and not given.get(name)}


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(values)


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "plain": visible,
        "marked": shown.marked,
        "excerpt": shown.excerpt,
        "lasts": shown.length,
        "audio": shown.audio,
        "lang": shown.language_code,
    }
    environment.globals |= {"version": VERSION, "script": Markup(SCRIPT)}  # noqa: S704
    return environment
