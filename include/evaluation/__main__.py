"""Compare two model versions in the terminal: ``python -m include.evaluation live newest``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.table import Table

from include.errors import PermanentError
from include.evaluation.compare_models import Measured, ModelDifference, Row, compare_models
from include.evaluation.formatting import number, signed
from include.evaluation.metrics import Interval
from include.settings import get_settings
from include.storage import ArtifactStore
from include.terminal import plain


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
    return table


def _change(change: Interval) -> str:
    """The difference with its interval; one that excludes zero is marked."""
    if change.low is None or change.high is None:
        return signed(change.mean)
    sure = " *" if change.low > 0 or change.high < 0 else ""
    return f"{signed(change.mean)} ({signed(change.low)} to {signed(change.high)}){sure}"


def _table(title: str, heads: tuple[str, ...]) -> Table:
    table = Table(title=plain(title, "bold"), title_justify="left", expand=False)
    for head in heads:
        table.add_column(plain(head), overflow="fold")
    return table


def main(arguments: list[str] | None = None) -> int:
    """Compare two versions; 0 if both are there."""
    parser = argparse.ArgumentParser(
        prog="python -m include.evaluation",
        description="What differs between two model versions. Differences of metrics are with 95 % intervals, over the "
        "same queries; * marks those that exclude zero.",
    )
    parser.add_argument("first", help="a registered version, or live, previous or newest")
    parser.add_argument("second", help="another one")
    parser.add_argument("--all", action="store_true", help="show also what is the same")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    try:
        store = ArtifactStore(get_settings().artifacts_root)
        found = compare_models(store, options.first, options.second)
    except PermanentError as error:
        print(error, file=sys.stderr)
        return 1
    console = Console()
    for part in tables(found, everything=options.all):
        console.print(part)
    return 0


if __name__ == "__main__":
    sys.exit(main())
