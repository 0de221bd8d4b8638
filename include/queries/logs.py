"""Search logs: what listeners typed and what they then played, as training pairs.

Spotify trains on such pairs first: searches that ended in a played episode, and the search before a reformulation that
did. A file of them has one row each, ``query,episode_id,weight,source``; the last two may be left out. What the search
service has recorded comes in such a file, too (:mod:`include.feedback.pairs`).
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from include.errors import PermanentError
from include.queries.contract import Passage, Query
from include.queries.filtering import query_key

COLUMNS = ("query", "episode_id")
ORIGIN = "log"
MAX_SOURCE_CHARS = 40


class SearchLogError(PermanentError, ValueError):
    """The file of search logs cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class LoggedQuery:
    """A query that led listeners to an episode.

    :param origin: ``log:<source>``, or ``log`` where no source is given, or there are several.
    :param weight: how much it counts beside others, e.g. how often it happened.
    """

    text: str
    origin: str
    weight: float

    def find(self, passage: Passage) -> Query:
        """The query as training takes it: it must find the whole text of the episode, as search has it."""
        return Query(self.text, self.origin, passage.text())


class SearchLogs(NamedTuple):
    """The logged queries of each episode, and how many rows were left out."""

    by_episode: dict[str, list[LoggedQuery]]
    unknown: int
    """Rows whose episode is not in the catalogue."""
    curated: int
    """Rows whose query is a curated one: those are never trained on."""
    without_description: int
    """Rows whose episode has no description: neither are those."""


def is_logged(origin: str) -> bool:
    """Whether queries of an origin were typed by listeners."""
    return origin == ORIGIN or origin.startswith(f"{ORIGIN}:")


def load_logs(
    paths: Sequence[Path],
    episode_ids: Collection[str] | None,
    *,
    curated: Collection[str],
    without_description: Collection[str] = (),
) -> SearchLogs:
    """Read search logs from CSV files of ``query,episode_id`` and, if known, ``weight`` (1) and ``source``.

    Rows of one query (whatever its case) and one episode are one, with the sum of their weights.

    :param episode_ids: ids of the catalogue; a set or a dict, for speed; None: whatever they are.
    :param curated: texts of the queries that people wrote to measure with.
    :param without_description: those of the ids whose episodes have no description; a set, for speed.
    :raises SearchLogError: a file cannot be read, is not UTF-8, lacks a column, or has a row without a query or an
        episode, or with a weight that is not above zero.
    """
    refused = {query_key(query) for query in curated}
    texts: dict[tuple[str, str], str] = {}
    weights: dict[tuple[str, str], float] = {}
    origins: dict[tuple[str, str], set[str]] = {}
    unknown = held_back = undescribed = 0
    for row in chain.from_iterable(map(_rows, paths)):
        key = row.episode_id, query_key(row.query)
        if key[1] in refused:
            held_back += 1
        elif episode_ids is not None and row.episode_id not in episode_ids:
            unknown += 1
        elif row.episode_id in without_description:
            undescribed += 1
        else:
            texts.setdefault(key, row.query)
            weights[key] = weights.get(key, 0.0) + row.weight
            origins.setdefault(key, set()).add(row.origin)
    found: dict[str, list[LoggedQuery]] = {}
    for key, text in texts.items():
        if not math.isfinite(weights[key]):
            raise SearchLogError(f"{key[0]}: the weights of {text!r} add up to more than a number can hold.")
        origin = origins[key].pop() if len(origins[key]) == 1 else ORIGIN
        found.setdefault(key[0], []).append(LoggedQuery(text, origin, weights[key]))
    return SearchLogs(found, unknown, held_back, undescribed)


class _Row(NamedTuple):
    query: str
    episode_id: str
    weight: float
    origin: str


def _rows(path: Path) -> Iterator[_Row]:
    """Every row of the file that is not blank, checked."""
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_header(path, reader)
            for row in reader:
                line = reader.line_num
                if None in row or any(value and value.strip() for value in row.values()):
                    yield _row(f"{path}, line {line}", row)
    except OSError as error:
        raise SearchLogError(
            f"The search logs {path} cannot be read ({error.strerror}): fix PODSEARCH_SEARCH_LOGS, or unset it."
        ) from error
    except UnicodeDecodeError as error:
        raise SearchLogError(f"{path}, after line {line}: not UTF-8 ({error.reason}): save it as UTF-8.") from None
    except csv.Error as error:
        raise SearchLogError(f"{path}, after line {line}: {error}.") from None


def _check_header(path: Path, reader: csv.DictReader[str]) -> None:
    missing = set(COLUMNS) - set(reader.fieldnames or ())
    if missing:
        raise SearchLogError(
            f"{path} lacks the column {' and '.join(sorted(missing))}: its first line must be "
            f"{','.join(COLUMNS)}, optionally followed by weight and source."
        )


def _row(place: str, row: dict[str, str | None]) -> _Row:
    if None in row:
        raise SearchLogError(f"{place}: too many fields; quote a query with a comma in it.")
    query, episode_id = (" ".join((row[name] or "").split()) for name in COLUMNS)
    if not query or not episode_id:
        raise SearchLogError(f"{place}: needs a query and an episode id.")
    return _Row(query, episode_id, _weight(place, row.get("weight")), _origin(row.get("source")))


def _weight(place: str, text: str | None) -> float:
    if not text or not text.strip():
        return 1.0
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:  # also false for NaN
        raise SearchLogError(f"{place}: the weight {text.strip()!r} is not a number above zero; leave it empty for 1.")
    return weight


def _origin(source: str | None) -> str:
    """An origin that can stand in tables and labels, whatever the source is called."""
    plain = re.sub(r"[^a-z0-9]+", "_", (source or "").casefold())[:MAX_SOURCE_CHARS].strip("_")
    return f"{ORIGIN}:{plain}" if plain else ORIGIN
