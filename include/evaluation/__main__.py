"""Compare two model versions, or judge what search finds, in the terminal.

``python -m include.evaluation compare live newest`` and ``python -m include.evaluation judge``.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table

from include.errors import PermanentError
from include.evaluation.compare_models import NOTHING, Measured, ModelDifference, Row, compare_models
from include.evaluation.formatting import number, share
from include.evaluation.judging import judge
from include.evaluation.metrics import Interval
from include.evaluation.queries import read_judged
from include.evaluation.sides import direction, figures
from include.settings import get_settings
from include.storage import ArtifactStore
from include.terminal import console, plain

if TYPE_CHECKING:
    from include.search.service import SearchService


def tables(found: ModelDifference, *, everything: bool = False) -> Iterator[RenderableType]:
    """The comparison as tables of the terminal.

    :param everything: show also what does not differ.
    """
    heads = found.first.version, found.second.version
    for section, rows in found.sections.items():
        shown = [row for row in rows if everything or row.differs]
        yield _properties(section, shown, heads) if shown else plain(f"{section}: the same.\n", "bold")
    for measured in found.measured:
        yield _metrics(measured, heads)
    if found.first.version == found.second.version:
        yield plain("They are the same version.")
    elif not found.measured:
        yield plain(
            "They were never measured on the same queries, so no metrics are set side by side: reindex_episodes "
            "measures the base model, the live one and a new one together."
        )


def _properties(section: str, rows: list[Row], heads: tuple[str, str]) -> Table:
    table = _table(section, ("", *heads))
    for row in rows:
        table.add_row(plain(row.name.replace("_", " ")), plain(row.first), plain(row.second))
    return table


def _metrics(measured: Measured, heads: tuple[str, str]) -> Table:
    title = f"{measured.query_set.capitalize()} queries: {measured.queries:,}, of {measured.catalogue:,} episodes"
    table = _table(title, ("", *heads, "difference"))
    for name, first in measured.first.items():
        second, change = measured.second[name], measured.differences[name]
        table.add_row(plain(name), number(first.mean), number(second.mean), _change(change))
    if any(one is not None for one in measured.judged):
        shares = (share(one, 1) if one is not None else NOTHING for one in measured.judged)
        table.add_row(plain("first ten that were judged"), *shares, "")
    return table


def _change(change: Interval) -> str:
    """The difference with its interval; one that excludes zero is marked."""
    return figures(change) + (" *" if direction(change) else "")


def _table(title: str, heads: tuple[str, ...]) -> Table:
    table = Table(title=plain(title, "bold"), title_justify="left", expand=False)
    for head in heads:
        table.add_column(plain(head), overflow="fold")
    return table


def main(arguments: list[str] | None = None) -> int:
    """Compare or judge; 0 if it could be done."""
    parser = argparse.ArgumentParser(prog="python -m include.evaluation", description="How well search finds episodes.")
    commands = parser.add_subparsers(dest="command", required=True)
    comparing = commands.add_parser(
        "compare",
        help="two model versions",
        description="What differs between two model versions. Differences of metrics are with 95 % intervals, over the "
        "same queries; * marks those that exclude zero.",
    )
    comparing.add_argument("first", help="a registered version, or live, previous or newest")
    comparing.add_argument("second", help="another one")
    comparing.add_argument("--all", action="store_true", help="show also what is the same")
    judging = commands.add_parser(
        "judge",
        help="what search finds",
        description="Say which of the first results of the live index answer a curated query. Each answer is kept in "
        "the file of curated queries, and not asked for again.",
    )
    judging.add_argument("--query", help="this one alone, which need not be in the file yet")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    try:
        if options.command == "judge":
            return _judge(options.query)
        return _compare(options.first, options.second, everything=options.all)
    except (PermanentError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
        return 130


def _compare(first: str, second: str, *, everything: bool) -> int:
    store = ArtifactStore(get_settings().installation.artifacts_root)
    terminal = console()
    for part in tables(compare_models(store, first, second), everything=everything):
        terminal.print(part)
    return 0


def _judge(query: str | None) -> int:
    path = get_settings().curated_queries_path
    if path is None:
        raise PermanentError("There are no curated queries: name their file by PODSEARCH_CURATED_QUERIES.")
    judged = read_judged(path) if path.is_file() else {}
    # A terminal's bytes that are no UTF-8 arrive as lone surrogates, which no file can hold.
    queries = list(judged) if query is None else [query.encode("utf-8", "replace").decode().strip()]
    if queries in ([], [""]):
        raise PermanentError(f"Name a query with --query, or write queries into {path}.")
    judge(path, judged, _search_service(), queries=queries, answers=sys.stdin, console=console())
    return 0


def _search_service() -> SearchService:
    """Search the live index as models are measured: any number of results per show, and no re-ranking."""
    from include.search.opening import open_search

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return open_search(get_settings(), per_show=0, reranked=False)


if __name__ == "__main__":
    sys.exit(main())
