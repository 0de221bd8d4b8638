"""The filter every generated query passes, whatever wrote it; what is dropped is counted by reason."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from include.queries.contract import Query

MIN_LETTERS = 6
MAX_WORDS = 30
MIN_LETTER_SHARE = 0.6


class Dropped(StrEnum):
    """Why a query was not used."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    NOT_WORDS = "not_words"
    """Mostly digits, symbols or addresses."""
    REPEATED = "repeated"
    """The episode has the same query already."""
    COPIED = "copied"
    """The text it must find is no more than the query itself."""
    GENERIC = "generic"
    """Too many episodes share the query: it cannot say which is meant."""


def filter_queries(
    queries: Sequence[Sequence[Query]], *, max_sharing: int = 2
) -> tuple[list[list[Query]], Counter[str]]:
    """Drop what would teach or measure nothing.

    :param queries: the queries of each episode.
    :param max_sharing: most episodes that may share one query.
    :returns: the kept queries of each episode, and the number dropped by reason.
    """
    sharing = Counter(key for own in queries for key in {_key(query.text) for query in own})
    dropped: Counter[str] = Counter()
    kept: list[list[Query]] = []
    for own in queries:
        seen: set[str] = set()
        good: list[Query] = []
        for query in own:
            reason = _reason(query, seen, sharing, max_sharing)
            if reason:
                dropped[reason] += 1
            else:
                seen.add(_key(query.text))
                good.append(query)
        kept.append(good)
    return kept, dropped


def _reason(query: Query, seen: set[str], sharing: Counter[str], max_sharing: int) -> Dropped | None:
    key = _key(query.text)
    # Marks are letters too: the vowel signs of Hindi or Thai.
    letters = sum(unicodedata.category(character)[0] in "LM" for character in key)
    tests = {
        Dropped.TOO_SHORT: letters < MIN_LETTERS and key.isascii(),
        Dropped.TOO_LONG: len(key.split()) > MAX_WORDS,
        Dropped.NOT_WORDS: letters < MIN_LETTER_SHARE * len(key.replace(" ", "")),
        Dropped.REPEATED: key in seen,
        Dropped.COPIED: key in _key(query.positive) and len(query.positive) < 1.5 * len(query.text),
        Dropped.GENERIC: sharing[key] > max_sharing,
    }
    return next((reason for reason, holds in tests.items() if holds), None)


def _key(text: str) -> str:
    return " ".join(text.casefold().split())
