"""What evaluation asks: sets of queries, each with the episodes that answer it."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

QuerySetName = Literal["test", "known", "curated"]
CURATED_COLUMNS = ("query", "episode_ids")


class CuratedQueriesError(ValueError):
    """The file of curated queries cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class QuerySet:
    """Queries and their answers, in parallel lists.

    A *test* query is drawn from an episode (its title, a key phrase, a lead sentence), so the text of that episode
    contains it and would be found without any understanding. ``positives[i]`` is therefore the text of
    ``relevant[i][0]`` with that part held out; its vector stands in for the episode's own when query ``i`` is ranked,
    and only then. *Curated* queries are written by people and need no such text.
    """

    name: QuerySetName
    queries: list[str]
    relevant: list[list[str]]
    """Episode ids, at least one a query."""
    origins: list[str]
    """Where each query comes from: ``title``, ``key_phrase``, ``curated`` …"""
    positives: list[str] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.queries), len(self.relevant), len(self.origins)}
        if self.positives is not None:
            lengths.add(len(self.positives))
        if len(lengths) != 1:
            raise ValueError(f"The lists of query set {self.name!r} differ in length: {sorted(lengths)}.")
        if not all(self.relevant):
            raise ValueError(f"Every query of query set {self.name!r} needs a relevant episode.")

    def __len__(self) -> int:
        return len(self.queries)


class CuratedQueries(NamedTuple):
    """The curated queries that a catalogue can answer, and how many of the file it cannot."""

    query_set: QuerySet
    left_out: int


def load_curated(path: Path, episode_ids: Collection[str]) -> CuratedQueries:
    """Read curated queries from a CSV file of ``query,episode_ids`` (ids separated by ``|``).

    Ids outside the catalogue are dropped, and a query that is left without one is counted and left out. Rows that ask
    the same query are one query whose answers are those of all of them.

    :param episode_ids: ids of the episodes that are searched; a set or a dict, for speed.
    :raises CuratedQueriesError: the file is not UTF-8, lacks a column, or has a row without a query or without ids.
    """
    answers = read_curated(path)
    relevant = {
        query: [episode_id for episode_id in dict.fromkeys(ids) if episode_id in episode_ids]
        for query, ids in answers.items()
    }
    kept = {query: ids for query, ids in relevant.items() if ids}
    query_set = QuerySet("curated", list(kept), list(kept.values()), ["curated"] * len(kept))
    return CuratedQueries(query_set, left_out=len(relevant) - len(kept))


def read_curated(path: Path) -> dict[str, list[str]]:
    """All queries of such a file with the ids of the episodes that answer them, whether a catalogue has them or not.

    :raises CuratedQueriesError: as :func:`load_curated`.
    """
    answers: dict[str, list[str]] = {}
    for line, query, ids in _rows(path):
        if not query or not ids:
            raise CuratedQueriesError(f"{path}, line {line}: needs a query and at least one episode id.")
        answers.setdefault(query, []).extend(ids)
    return answers


def _rows(path: Path) -> list[tuple[int, str, list[str]]]:
    """Line number, query and ids of every row that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CuratedQueriesError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, str, list[str]]] = []
    try:
        missing = set(CURATED_COLUMNS) - set(reader.fieldnames or ())
        if missing:
            raise CuratedQueriesError(
                f"{path} lacks the column {' and '.join(sorted(missing))}: "
                f"its first line must be {','.join(CURATED_COLUMNS)}."
            )
        for row in reader:
            if None in row:
                raise CuratedQueriesError(
                    f"{path}, line {reader.line_num}: too many fields; quote a query with a comma in it."
                )
            ids = [part.strip() for part in (row["episode_ids"] or "").split("|")]
            rows.append((reader.line_num, (row["query"] or "").strip(), [part for part in ids if part]))
    except csv.Error as error:
        raise CuratedQueriesError(f"{path}, line {reader.line_num}: {error}.") from None
    return rows
