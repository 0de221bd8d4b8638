"""Search the live index in the terminal: ``python -m include.search "eat better during the holidays"``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import TYPE_CHECKING

from rich.table import Column, Table

from include.errors import PermanentError, RetryLaterError
from include.settings import get_settings
from include.terminal import console, plain

if TYPE_CHECKING:
    from include.search.service import Mode, Result


def results_table(query: str, results: list[Result]) -> Table:
    """The results of one query: rank, score, title, show, date. Podcast text is shown literally, never as markup."""
    columns = (Column("#", justify="right"), "score", "title", "show", "date")
    table = Table(*columns, title=plain(query, style="bold"), title_justify="left", expand=False)
    for rank, result in enumerate(results, start=1):
        published = result.metadata.published_at
        table.add_row(
            str(rank),
            f"{result.score:.3f}",
            plain(result.metadata.title),
            plain(result.metadata.show_title),
            f"{published:%Y-%m-%d}" if published else "",
        )
    return table


def main(arguments: list[str] | None = None) -> int:
    """Run one search; 0 if it could be answered."""
    parser = argparse.ArgumentParser(prog="make search Q=…", description="Search the live podcast index.")
    parser.add_argument("query", help="what you are looking for, in your own words")
    parser.add_argument("-k", type=int, default=10, help="number of results (default: 10)")
    parser.add_argument("--language", help="only shows in this language, e.g. English")
    parser.add_argument(
        "--mode",
        choices=["hybrid", "dense", "lexical"],
        default="hybrid",
        help="by meaning and words (default), by meaning alone, or by words alone",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        results = _search(options.query, options.k, options.language, options.mode)
    except (PermanentError, RetryLaterError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
        return 130
    if results:
        console().print(results_table(options.query, results))
    elif options.language:
        told = f"No episodes found in {options.language}: a language is named as the catalogue has it."
        console(soft_wrap=True).print(plain(told))
    else:
        print("No episodes found.")
    return 0


def _search(query: str, k: int, language: str | None, mode: Mode) -> list[Result]:
    from include.search.opening import open_search

    service = open_search(get_settings())
    return service.search(query, k, {"language": language} if language else None, mode=mode)


if __name__ == "__main__":
    sys.exit(main())
