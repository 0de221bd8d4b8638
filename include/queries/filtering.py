"""The filter every generated query passes, whatever wrote it; what is dropped is counted by reason."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from include.queries.contract import DOC2QUERY, MULTILINGUAL, Passage, Query
from include.queries.languages import is_english
from include.queries.scripts import fits, script_shares
from include.queries.titles import bare_title

MIN_LETTERS = 6
MAX_SHARING = 2
"""Most episodes that may share one query."""
MAX_WORDS = 30
MIN_LETTER_SHARE = 0.6
MAX_COPIED_WORDS = 12
"""A model that writes more words in a row as they stand in its text has copied them; a person asks in a few."""
GENERATED = frozenset({DOC2QUERY, MULTILINGUAL})
"""Origins whose queries a model has written: it may write in another language than the text, and copy."""
LANGUAGE_CHARS = 2_000
"""So much of a text is looked at for its script: more than a generator reads."""
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")


class Dropped(StrEnum):
    """Why a query was not used."""

    EMPTY = "empty"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    NOT_WORDS = "not_words"
    """Mostly digits, symbols or addresses."""
    CURATED = "curated"
    """A person wrote the same query to measure with, so it must not train."""
    WRONG_LANGUAGE = "wrong_language"
    """In another script than the text it must find, or of a generator that does not know the text's language."""
    LIKE_TITLE = "like_title"
    """A model copied the title, which stands in the text: nothing is learnt from finding it there."""
    REPEATED = "repeated"
    """The episode has the same query already."""
    COPIED = "copied"
    """The text it must find is no more than the query itself; or a model copied a long piece of it."""
    GENERIC = "generic"
    """Too many episodes share the query: it cannot say which is meant."""
    NOT_FOUND = "not_found"
    """The base model does not find its episode (see :mod:`include.queries.roundtrip`)."""


def filter_queries(
    queries: Sequence[Sequence[Query]],
    passages: Sequence[Passage] | None = None,
    *,
    english_only: bool = False,
    curated: Collection[str] = (),
) -> tuple[list[list[Query]], Counter[str]]:
    """Drop queries that would teach or measure nothing.

    :param queries: the queries of each episode.
    :param passages: the episodes, in the same order; without them nothing is known of languages and titles.
    :param english_only: the model that wrote the queries of the origin ``doc2query`` knows English alone: letters that
        are unknown to it come out as broken words, so what it wrote for other languages is dropped.
    :param curated: queries that people wrote to measure with.
    :returns: the kept queries of each episode, and the number dropped by reason.
    """
    sharing = Counter(key for own in queries for key in {query_key(query.text) for query in own})
    rules = _Rules(sharing, english_only, frozenset(map(query_key, curated)))
    dropped: Counter[str] = Counter()
    kept: list[list[Query]] = []
    for own, passage in zip(queries, [None] * len(queries) if passages is None else passages, strict=True):
        seen: set[str] = set()
        good: list[Query] = []
        for query in own:
            reason = rules.reason(query, passage, seen)
            if reason:
                dropped[reason] += 1
            else:
                seen.add(query_key(query.text))
                good.append(query)
        kept.append(good)
    return kept, dropped


def query_key(text: str) -> str:
    """What two queries share that differ in case and white space only."""
    return " ".join(text.casefold().split())


@dataclass(frozen=True)
class _Rules:
    """What holds for every query of a call."""

    sharing: Counter[str]
    english_only: bool
    curated: frozenset[str]

    def reason(self, query: Query, passage: Passage | None, seen: set[str]) -> Dropped | None:
        """Why a query is dropped, if it is.

        :param seen: keys of the episode's queries that were kept so far.
        """
        return (
            _not_a_query(query)
            or (Dropped.CURATED if query_key(query.text) in self.curated else None)
            or (self._badly_generated(query, passage) if query.origin in GENERATED else None)
            or self._useless(query, seen)
        )

    def _badly_generated(self, query: Query, passage: Passage | None) -> Dropped | None:
        """What only a model does."""
        scripts = script_shares(query.text)
        if not fits(scripts, _scripts_of(query.positive)):
            return Dropped.WRONG_LANGUAGE
        english_only = self.english_only and query.origin == DOC2QUERY
        if english_only and not is_english(passage.language if passage else None, scripts):
            return Dropped.WRONG_LANGUAGE
        words = _words(query.text)
        if passage and _copies_title(words, passage):
            return Dropped.LIKE_TITLE
        if words.count(" ") >= MAX_COPIED_WORDS and f" {words} " in f" {_words(query.positive)} ":
            return Dropped.COPIED
        return None

    def _useless(self, query: Query, seen: set[str]) -> Dropped | None:
        key = query_key(query.text)
        if key in seen:
            return Dropped.REPEATED
        if len(query.positive) < 1.5 * len(query.text) and key in query_key(query.positive):
            return Dropped.COPIED
        return Dropped.GENERIC if self.sharing[key] > MAX_SHARING else None


def _copies_title(words: str, passage: Passage) -> bool:
    """Whether words are those of the title, with its numbering and the show's name or without."""
    title = _words(passage.title)
    if f" {words} " not in f" {title} ":
        return False
    return words in (title, _words(bare_title(passage.title, passage.show_title)))


def _not_a_query(query: Query) -> Dropped | None:
    key = query_key(query.text)
    categories = [unicodedata.category(character)[0] for character in key]
    # Marks are letters too: the vowel signs of Hindi or Thai.
    letters = sum(category in "LM" for category in categories)
    tests = {
        Dropped.EMPTY: all(category in "CZ" for category in categories),
        Dropped.TOO_SHORT: letters < MIN_LETTERS and key.isascii(),
        Dropped.TOO_LONG: len(key.split()) > MAX_WORDS,
        Dropped.NOT_WORDS: letters < MIN_LETTER_SHARE * len(key.replace(" ", "")),
    }
    return next((reason for reason, holds in tests.items() if holds), None)


# The queries of an episode follow each other and mostly have one text.
@lru_cache(maxsize=64)
def _scripts_of(positive: str) -> dict[str, float]:
    return script_shares(_ADDRESS.sub(" ", positive[:LANGUAGE_CHARS]))


@lru_cache(maxsize=64)
def _words(text: str) -> str:
    """The words of a text in lower case, without what stands between them."""
    return " ".join(re.findall(r"\w+", text.casefold()))
