from __future__ import annotations

import random

import pytest

from include.queries.contract import Query
from include.queries.extractive import ExtractiveQueryGenerator
from tests.include.queries.passages import SUBJECTS, catalogue, passage

REST = " Afterwards there are twelve more plain words about insomnia here so that enough of it is left."


def generate(**changes: str) -> dict[str, Query]:
    """The queries of a changed passage by origin."""
    own = ExtractiveQueryGenerator().generate([passage(**changes), *catalogue()[1:]], 10, 1)[0]
    return {query.origin: query for query in own}


def test_same_seed_same_queries_whatever_the_order_of_passages() -> None:
    """A retried shard must end in the same queries, or training goes on from another training's checkpoint."""
    passages = catalogue()
    first = dict(zip(SUBJECTS, ExtractiveQueryGenerator().generate(passages, 3, 1), strict=True))
    random.Random(3).shuffle(passages)
    again = ExtractiveQueryGenerator().generate(passages, 3, 1)
    assert {own.episode_id: queries for own, queries in zip(passages, again, strict=True)} == first
    assert ExtractiveQueryGenerator().generate(catalogue(), 3, 2) != list(first.values())


@pytest.mark.parametrize("n", [1, 2, 3, 8, 20])
def test_at_most_n_distinct_queries(n: int) -> None:
    for queries in ExtractiveQueryGenerator().generate(catalogue(), n, 5):
        assert 0 < len(queries) <= n
        assert len({query.text.casefold() for query in queries}) == len(queries)
        assert n > 8 or len(queries) == n


def test_every_origin_is_drawn() -> None:
    """Where fewer queries are asked for than there are origins, none of them may be starved."""
    generator = ExtractiveQueryGenerator()
    drawn = [queries[0].origin for seed in range(10) for queries in generator.generate(catalogue(), 1, seed)]
    assert set(drawn) == {"title", "key_phrase", "lead"}


def test_a_title_is_held_out_of_its_positive() -> None:
    title = generate(title="Ep. 3: The tired nurse", description=f"The tired nurse! {SUBJECTS['sleep']}.{REST}")[
        "title"
    ]
    assert title.text == "The tired nurse"
    assert "tired nurse" not in title.positive.casefold()
    assert "melatonin" in title.positive
    assert "The Long Table" in title.positive


def test_a_lead_is_held_out_of_its_positive() -> None:
    lead = generate(description="Nurses rarely sleep after melatonin." + REST)["lead"]
    assert lead.text == "Nurses rarely sleep after melatonin"
    assert lead.text not in lead.positive
    assert "twelve more plain words" in lead.positive


def test_key_phrases_keep_the_words_in_their_order() -> None:
    for queries in ExtractiveQueryGenerator().generate(catalogue(), 8, 1):
        for query in queries:
            if query.origin == "key_phrase":
                places = [query.positive.lower().index(word) for word in query.text.split()]
                assert places == sorted(places)
                assert 2 <= len(places) <= 4


def test_a_title_is_no_query_where_only_the_show_would_be_left() -> None:
    """Its positive would be that of every episode of the show."""
    assert "title" not in generate(title="The tired nurse", description="The tired nurse!")


@pytest.mark.parametrize(
    ("opening", "lead"),
    [
        ("In this episode of The Long Table, insomnia takes a nurse apart.", "insomnia takes a nurse apart"),
        ("On today's show, Dr. Bo tests melatonin on a nurse.", "Dr. Bo tests melatonin on a nurse"),
        ("It is 3 a.m. and the nurses cannot find melatonin.", "It is 3 a.m. and the nurses cannot find melatonin"),
        ("Welcome to another week of insomnia and nurses.", None),
        ("In this episode we talk of insomnia and nurses.", None),
        ("Support us on our page about insomnia and nurses.", None),
        ("This episode is brought to you by melatonin for nurses.", None),
        ("Willkommen zu einer Folge über Insomnia und Nurses.", None),
        ("Insomnia and nurses at www.nurses.example today.", None),
        ("Well, here we are once again.", None),  # could open any episode
        ("Insomnia!", None),
        ("Insomnia " * 30 + ".", None),
    ],
)
def test_leads_are_what_the_episode_is_about(opening: str, lead: str | None) -> None:
    found = generate(description=opening + REST).get("lead")
    assert (found.text if found else None) == lead


def test_a_lead_leaves_enough_to_be_found() -> None:
    assert "lead" not in generate(description="Nurses rarely sleep after melatonin. That is all.")


@pytest.mark.parametrize("text", ["", " ", "🎉🎉", "12:30", "<>&", "\u200b"])
def test_texts_without_words_give_no_queries(text: str) -> None:
    assert ExtractiveQueryGenerator().generate([passage(title=text, description=text)], 3, 1) == [[]]


def test_scripts_without_spaces_give_titles_and_leads() -> None:
    """Words cannot be told apart there without a dictionary: no key phrases rather than broken ones."""
    description = "眠れない夜をどう過ごすか。専門家に三つの方法を聞きました。最後に、読者からの手紙を紹介します。"
    queries = ExtractiveQueryGenerator().generate([passage(title="第三夜の過ごし方", description=description)], 5, 1)[0]
    assert {query.origin: query.text for query in queries} == {
        "title": "第三夜の過ごし方",
        "lead": "眠れない夜をどう過ごすか",
    }


def test_no_passages() -> None:
    assert ExtractiveQueryGenerator().generate([], 3, 1) == []
