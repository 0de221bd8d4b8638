"""Each episode's queries are written by a model that knows its language."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from include.queries.contract import DOC2QUERY, MULTILINGUAL, GeneratorSpec, Passage, Query
from include.queries.filtering import Dropped, filter_queries
from include.queries.opening import create_generator
from include.queries.routing import RoutedQueryGenerator
from tests.t5 import build_t5

ENGLISH = Passage("a", "Sleep at night", "why nurses sleep badly", "Night", language="English")
UNKNOWN = Passage("b", "Sleep at night", "why nurses sleep badly", "Night")
POLISH = Passage("c", "Święci", "święci męczennicy i ich historia", "Noc", language="pl")
MISLABELLED = Passage("d", "Политика", "политика и оружие в новой программе", "Ночь", language="English")


class Recorder:
    """A generator that keeps what it was asked for."""

    chunk: int | None = 7

    def __init__(self, name: str) -> None:
        self.name = name
        self.tokens = 0
        self.asked: list[list[str]] = []

    def generate(self, passages: Sequence[Passage], n: int, seed: int) -> list[list[Query]]:
        self.asked.append([passage.episode_id for passage in passages])
        self.tokens += len(passages)
        return [[Query(f"{passage.episode_id} {n} {seed}", self.name, passage.text())] for passage in passages]


def test_each_passage_goes_to_the_model_that_knows_its_language() -> None:
    english, other = Recorder("english"), Recorder("other")
    routed = RoutedQueryGenerator(english, other)
    queries = routed.generate([POLISH, ENGLISH, MISLABELLED, UNKNOWN], 3, 9)
    assert (english.asked, other.asked) == ([["a", "b"]], [["c", "d"]])
    assert [[(query.text, query.origin) for query in own] for own in queries] == [
        [("c 3 9", "other")],
        [("a 3 9", "english")],
        [("d 3 9", "other")],
        [("b 3 9", "english")],
    ]
    assert routed.chunk == 7
    assert routed.tokens == 4, "of both"


def test_a_model_that_nothing_is_for_is_not_asked() -> None:
    english, other = Recorder("english"), Recorder("other")
    RoutedQueryGenerator(english, other).generate([ENGLISH], 1, 1)
    assert other.asked == []


def test_what_the_multilingual_model_wrote_is_kept(tmp_path: Path) -> None:
    """The filter drops what a model of English alone wrote for other languages, and that only."""
    spec = GeneratorSpec(
        name="doc2query",
        model=str(build_t5(tmp_path / "t5")),
        multilingual_model=str(build_t5(tmp_path / "mt5", "mt5", seed=8)),
        engine="torch",
        max_output_tokens=8,
    )
    passages = [ENGLISH, POLISH]
    queries = create_generator(spec, threads=1, cache=tmp_path / "cache").generate(passages, 3, 1)
    assert [{query.origin for query in own} for own in queries] == [{DOC2QUERY}, {MULTILINGUAL}]


def test_a_model_that_is_named_for_all_languages_is_opened_once(tmp_path: Path) -> None:
    model = str(build_t5(tmp_path / "t5"))
    spec = GeneratorSpec(name="doc2query", model=model, multilingual_model=model)
    assert not isinstance(create_generator(spec), RoutedQueryGenerator)


@pytest.mark.parametrize(("origin", "reason"), [(DOC2QUERY, Dropped.WRONG_LANGUAGE), (MULTILINGUAL, None)])
def test_only_a_model_of_english_is_held_to_english(origin: str, reason: Dropped | None) -> None:
    query = Query("historia świętych męczenników", origin, POLISH.text())
    kept, dropped = filter_queries([[query]], [POLISH], english_only=True)
    assert (list(dropped), len(kept[0])) == ([reason] if reason else [], 0 if reason else 1)
