"""The queries of an evaluation: sets of queries, each with the episodes that answer it."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

from include.storage import ArtifactStore

QuerySetName = Literal["test", "known", "played", "curated"]
CURATED_COLUMNS = ("query", "episode_ids")
GRADES = "grades"
"""Column that a file of curated queries may have."""
BEST = 2
"""Grade of an episode that answers a query; 1 means that it answers part of it, 0 that it does not."""


class CuratedQueriesError(ValueError):
    """The file of curated queries cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class QuerySet:
    """Queries and their answers, in parallel lists.

    A *test* query is drawn from an episode (its title, a key phrase, a lead sentence), so the text of that episode
    contains it and would be found without any understanding. ``positives[i]`` is therefore the text of
    ``relevant[i][0]`` with that part removed; its vector stands in for the episode's own when query ``i`` is ranked,
    and only then. *Curated* queries are written by people and need no such text, nor do *played* ones, which listeners
    typed before they played an episode.
    """

    name: QuerySetName
    queries: list[str]
    relevant: list[list[str]]
    """Episode ids, at least one a query, the best answers first."""
    origins: list[str]
    """Where each query comes from: ``title``, ``key_phrase``, ``curated`` …"""
    positives: list[str] | None = None
    judged: list[dict[str, int]] | None = None
    """All episodes that a person has judged for each query, with their grades: the relevant ones, and those of grade 0;
    None if nobody judged any."""

    def __post_init__(self) -> None:
        lengths = {len(self.queries), len(self.relevant), len(self.origins)}
        lengths.update(len(one) for one in (self.positives, self.judged) if one is not None)
        if len(lengths) != 1:
            raise ValueError(f"The lists of query set {self.name!r} differ in length: {sorted(lengths)}.")
        if not all(self.relevant):
            raise ValueError(f"Every query of query set {self.name!r} needs a relevant episode.")

    def __len__(self) -> int:
        return len(self.queries)


class CuratedQueries(NamedTuple):
    """The curated queries that a catalogue can answer, and how many in the file it cannot."""

    query_set: QuerySet
    left_out: int


def load_curated(path: Path, episode_ids: Collection[str]) -> CuratedQueries:
    """Read the curated queries that have an answer from a CSV file (see :func:`read_judged`).

    Ids outside the catalogue are dropped; a query that is left without an answer is counted and left out.

    :param episode_ids: ids of the episodes that are searched; a set or a dict, for speed.
    :raises CuratedQueriesError: as :func:`read_judged`.
    """
    answered = {query: grades for query, grades in read_judged(path).items() if any(grades.values())}
    there = {
        query: {key: grade for key, grade in grades.items() if key in episode_ids} for query, grades in answered.items()
    }
    kept = {query: grades for query, grades in there.items() if any(grades.values())}
    relevant = [_answers(grades) for grades in kept.values()]
    query_set = QuerySet("curated", list(kept), relevant, ["curated"] * len(kept), judged=list(kept.values()))
    return CuratedQueries(query_set, left_out=len(answered) - len(kept))


def read_curated(path: Path) -> dict[str, list[str]]:
    """All queries of such a file that have an answer, with the ids of the episodes that answer them, the best first,
    whether a catalogue has them or not.

    :raises CuratedQueriesError: as :func:`read_judged`.
    """
    answers = {query: _answers(grades) for query, grades in read_judged(path).items()}
    return {query: ids for query, ids in answers.items() if ids}


def read_judged(path: Path) -> dict[str, dict[str, int]]:
    """All queries of a CSV file of ``query,episode_ids,grades`` with the grade of each episode that was judged.

    Ids are separated by ``|``, and so are their grades, in the same order: 2 answers the query, 1 answers it in part,
    0 does not. A grade that is missing or empty is 2, and so are all grades if the column is missing; other columns are
    ignored. Rows with the same query are one query; if an episode has several grades, the highest counts.

    :raises CuratedQueriesError: the file is not UTF-8, lacks a column, or has a row without a query or without ids, or
        with an invalid grade.
    """
    judged: dict[str, dict[str, int]] = {}
    for line, row in _read(path, path.read_bytes()).rows:
        query, graded = row["query"].strip(), _graded(row, f"{path}, line {line}")
        if not query or not graded:
            raise CuratedQueriesError(f"{path}, line {line}: needs a query and at least one episode id.")
        grades = judged.setdefault(query, {})
        for key, grade in graded:
            grades[key] = max(grade, grades.get(key, 0))
    return judged


def add_judgement(path: Path, query: str, episode_id: str, grade: int) -> None:
    """Append a person's judgement of one episode to a file of curated queries, which is created if needed.

    The file is replaced as a whole or not at all, and what others have written meanwhile stays. The new row has the
    query's language and whatever else its first row says of it. A file without a column of grades gets one.

    :raises CuratedQueriesError: as :func:`read_judged`.
    """
    path = path.resolve()  # a link stays one

    def change(before: bytes | None) -> bytes:
        return _appended(path, before or f"{','.join((*CURATED_COLUMNS, GRADES))}\n".encode(), query, episode_id, grade)

    ArtifactStore(path.parent).update(change, path.name)


class _File(NamedTuple):
    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]
    """Line number and fields of every row that is not blank."""


def _read(path: Path, data: bytes) -> _File:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CuratedQueriesError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        columns = list(reader.fieldnames or ())
        missing = set(CURATED_COLUMNS) - set(columns)
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
            if any(value and value.strip() for value in row.values()):
                rows.append((reader.line_num, {name: value or "" for name, value in row.items()}))
    except csv.Error as error:
        raise CuratedQueriesError(f"{path}, line {reader.line_num}: {error}.") from None
    return _File(columns, rows)


def _graded(row: dict[str, str], where: str) -> list[tuple[str, int]]:
    """The episodes of a row with their grades."""
    ids, grades = row["episode_ids"].split("|"), row.get(GRADES, "").split("|")
    if len(grades) > len(ids):
        raise CuratedQueriesError(f"{where}: has {len(grades)} grades for {len(ids)} episode ids.")
    graded = []
    for key, grade in zip_longest(map(str.strip, ids), map(str.strip, grades), fillvalue=""):
        if grade not in {"", *map(str, range(BEST + 1))}:
            raise CuratedQueriesError(f"{where}: {grade!r} is not a grade; use 2, 1 or 0.")
        if key:
            graded.append((key, int(grade or BEST)))
    return graded


def _answers(grades: dict[str, int]) -> list[str]:
    """The episodes that answer a query, those that answer it in part last."""
    return sorted((key for key, grade in grades.items() if grade), key=lambda key: -grades[key])


def _appended(path: Path, before: bytes, query: str, episode_id: str, grade: int) -> bytes:
    columns, rows = _read(path, before)
    end = "\r\n" if before.partition(b"\n")[0].endswith(b"\r") else "\n"
    if GRADES not in columns:
        columns.insert(columns.index("episode_ids") + 1, GRADES)
        mark = before[:3] if before.startswith(codecs.BOM_UTF8) else b""
        before = mark + _written([dict(zip(columns, columns, strict=True)), *(row for _, row in rows)], columns, end)
    elif not before.endswith(b"\n"):
        before += end.encode()
    known: dict[str, str] = next((row for _, row in rows if row["query"].strip() == query), {})
    judged = {"query": query, "episode_ids": episode_id, GRADES: str(grade)}
    return before + _written([known | judged], columns, end)


def _written(rows: Iterable[dict[str, str]], columns: list[str], end: str) -> bytes:
    lines = []
    for row in rows:
        line = io.StringIO(newline="")
        csv.DictWriter(line, columns, restval="", lineterminator="\r\n").writerow(row)  # it quotes fields with either
        lines.append(line.getvalue().removesuffix("\r\n") + end)
    return "".join(lines).encode()
