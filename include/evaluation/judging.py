"""Judging what search finds: a person says for each episode whether it answers a query.

The first results by meaning, by words, and by both are pooled, so that judging favours no way of searching, and shown
in the order of their ids, so that ranks influence nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

from rich.console import Console

from include.evaluation.metrics import SHOWN
from include.evaluation.queries import BEST, add_judgement
from include.terminal import plain

if TYPE_CHECKING:
    from include.search.service import Mode, Result, SearchService

DESCRIPTION_SHOWN = 400
"""Characters of a description."""
MODES: tuple[Mode, ...] = ("dense", "lexical", "hybrid")

Said = int | Literal["skip", "quit"]
ANSWERS: dict[str, Said] = {
    **{str(grade): grade for grade in range(BEST + 1)},
    **dict.fromkeys(("s", "skip"), "skip"),
    **dict.fromkeys(("q", "quit"), "quit"),
}
PROMPT = "2 answers it, 1 in part, 0 not, s(kip), q(uit): "


def judge(
    path: Path,
    judged: Mapping[str, Mapping[str, int]],
    service: SearchService,
    *,
    queries: Sequence[str],
    answers: TextIO,
    console: Console,
) -> int:
    """Ask about the results of some queries, and save each answer at once.

    :param path: the file of curated queries; created with the first answer.
    :param judged: its content; see :func:`include.evaluation.queries.read_judged`.
    :param answers: one per line; judging ends where they end.
    :returns: how many episodes were judged.
    :raises CuratedQueriesError: the file was changed meanwhile, and cannot be used any more.
    """
    kept = 0
    for query, result in _waiting(judged, service, queries, console):
        _show(result, console)
        said = _ask(answers, console)
        if said == "quit":
            break
        if said != "skip":
            add_judgement(path, query, result.episode_id, said)
            kept += 1
    console.print(plain(f"{kept:,} judged, in {path}." if kept else "Nothing was judged."))
    return kept


def _waiting(
    judged: Mapping[str, Mapping[str, int]], service: SearchService, queries: Sequence[str], console: Console
) -> Iterator[tuple[str, Result]]:
    """What was not judged yet, query by query, each of which is shown before its results."""
    for number, query in enumerate(queries, start=1):
        results = [one for one in pool(service, query) if one.episode_id not in judged.get(query, {})]
        if results:
            console.print()
            console.print(plain(query, "bold"))
            place = f"Query {number:,} of {len(queries):,}, " if len(queries) > 1 else ""
            console.print(plain(f"{place}{len(results)} to judge"))
        for result in results:
            yield query, result


def pool(service: SearchService, query: str) -> list[Result]:
    """The first results of a query by meaning, by words, and by both, each once, in the order of their ids.

    :raises ValueError: the query is empty.
    """
    found = {one.episode_id: one for mode in MODES for one in service.search(query, SHOWN, mode=mode)}
    return [found[key] for key in sorted(found)]


def _show(result: Result, console: Console) -> None:
    metadata = result.metadata
    date = f"{metadata.published_at:%Y-%m-%d}" if metadata.published_at else ""
    description = " ".join((metadata.description or "").split())
    cut = f"{description[:DESCRIPTION_SHOWN]}…" if len(description) > DESCRIPTION_SHOWN else description
    console.print()
    console.print(plain(metadata.title, "bold"))
    for line in (", ".join(filter(None, (metadata.show_title, date))), cut):
        if line:
            console.print(plain(line))


def _ask(answers: TextIO, console: Console) -> Said:
    """The next answer that is one; the end of the input is the end of judging."""
    while True:
        console.print(plain(PROMPT), end="")
        line = answers.readline()
        if not line:
            console.print()
            return "quit"
        if (said := ANSWERS.get(line.strip().lower())) is not None:
            return said
