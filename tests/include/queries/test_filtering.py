from __future__ import annotations

import pytest

from include.queries.contract import Passage, Query
from include.queries.filtering import Dropped, filter_queries

POSITIVE = "A nurse cannot sleep after her shift, and nothing she reads about melatonin and darkness helps her."


def query(text: str, positive: str = POSITIVE) -> Query:
    return Query(text, "title", positive)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("why nurses sleep badly", None),
        ("sleep", Dropped.TOO_SHORT),
        ("", Dropped.EMPTY),
        (" \n\t ", Dropped.EMPTY),
        ("\u200b\ufeff", Dropped.EMPTY),  # nothing that could be seen
        ("🎉🎉🎉", Dropped.NOT_WORDS),
        ("眠れない夜", None),  # five characters say as much as several words
        ("नींद की समस्या", None),  # vowel signs are letters too
        ("นอนไม่หลับตอนกลางคืน", None),
        ("word " * 31, Dropped.TOO_LONG),
        ("00:12:45 - 00:59:10 intros", Dropped.NOT_WORDS),
        (POSITIVE, Dropped.COPIED),
    ],
)
def test_reasons(text: str, reason: Dropped | None) -> None:
    kept, dropped = filter_queries([[query(text)]])
    assert dropped == ({reason: 1} if reason else {})
    assert bool(kept[0]) is (reason is None)


def test_an_episode_keeps_one_of_equal_queries() -> None:
    kept, dropped = filter_queries([[query("Why nurses sleep"), query("why  NURSES sleep")]])
    assert [own.text for own in kept[0]] == ["Why nurses sleep"]
    assert dropped == {Dropped.REPEATED: 1}


def test_a_query_that_many_episodes_share_is_dropped_everywhere() -> None:
    """It cannot say which one is meant: every other episode would be a false negative."""
    same, own = query("Christmas special show"), query("Why nurses sleep")
    kept, dropped = filter_queries([[same, own], [same], [same]])
    assert kept == [[own], [], []]
    assert dropped == {Dropped.GENERIC: 3}
    assert filter_queries([[same], [same]])[1] == {}


def test_a_repetition_within_one_episode_is_not_sharing() -> None:
    same = query("Christmas special show")
    assert filter_queries([[same, same, same]])[0] == [[same]]


def test_every_episode_keeps_its_place() -> None:
    kept, _ = filter_queries([[], [query("x")], [query("why nurses sleep")]])
    assert [len(own) for own in kept] == [0, 0, 1]


RUSSIAN = "Секретная карта и оружие великих: как разведчики прятали планы в подвалах старой крепости, часть вторая."
HINDI = "नींद की समस्या और रात की पाली में काम करने वाली नर्सों की कहानी, विशेषज्ञों के साथ एक लंबी बातचीत।"
JAPANESE = "眠れない夜をどう過ごすか。専門家に三つの方法を聞きました。最後に、読者からの手紙を紹介します。"


def judge(
    text: str, description: str, language: str | None, *, origin: str = "doc2query", english_only: bool = False
) -> str | None:
    """Why a query for an episode is dropped, if it is."""
    passage = Passage("e1", "A title of its own", description, "", language=language)
    own = Query(text, origin, description)
    _, dropped = filter_queries([[own]], [passage], english_only=english_only)
    return next(iter(dropped), None)


@pytest.mark.parametrize(
    ("text", "description", "reason"),
    [
        ("как прятали секретные планы", RUSSIAN, None),
        ("who hid the secret plans", RUSSIAN, Dropped.WRONG_LANGUAGE),
        ("नींद की समस्या", HINDI, None),
        ("why nurses cannot sleep", HINDI, Dropped.WRONG_LANGUAGE),
        ("眠れない夜の過ごし方", JAPANESE, None),
        ("ねむれないよるのすごしかた", JAPANESE, None),  # one script in another alphabet
        ("why nurses sleep badly", POSITIVE, None),
        ("почему медсёстры не спят", POSITIVE, Dropped.WRONG_LANGUAGE),
        ("iPhone X обзор камеры", "Обзор iPhone X: камера, экран и батарея нового телефона Apple за неделю", None),
        ("why nurses sleep badly", "1234 5678 90", None),  # no letters to be unlike
        (
            "who hid the plans",
            f"{RUSSIAN} https://example.org/a-very-long-address-of-latin-letters",
            Dropped.WRONG_LANGUAGE,
        ),
    ],
)
def test_a_generated_query_is_in_the_script_of_its_text(text: str, description: str, reason: Dropped | None) -> None:
    assert judge(text, description, None) == reason


@pytest.mark.parametrize(
    ("text", "description", "language", "reason"),
    [
        ("why nurses sleep badly", POSITIVE, "English", None),
        ("why nurses sleep badly", POSITIVE, None, None),
        ("why nurses sleep badly", POSITIVE, "", None),
        # the letters it does not know are missing, and what is left is in the right script
        ("елитике оруие акрта секретна рорамма", RUSSIAN, "Russian", Dropped.WRONG_LANGUAGE),
        ("елитике оруие акрта секретна рорамма", RUSSIAN, "English", Dropped.WRONG_LANGUAGE),
        ("елитике оруие акрта секретна рорамма", RUSSIAN, None, Dropped.WRONG_LANGUAGE),
        (
            "Pitek 01 grudnia wici mczennicy",
            "Piątek, 01 grudnia: święci męczennicy i ich historia",
            "pl",
            Dropped.WRONG_LANGUAGE,
        ),
    ],
)
def test_a_generator_of_english_writes_for_english_texts_only(
    text: str, description: str, language: str | None, reason: Dropped | None
) -> None:
    assert judge(text, description, language, english_only=True) == reason
    assert judge(text, description, language, english_only=False) is None


@pytest.mark.parametrize("origin", ["title", "key_phrase", "lead"])
def test_words_of_the_episode_itself_are_never_of_a_wrong_language(origin: str) -> None:
    """An English title over a Russian description is what people there will search for."""
    assert judge("Star Wars explained", RUSSIAN, "Russian", origin=origin, english_only=True) is None


@pytest.mark.parametrize(
    ("text", "origin", "reason"),
    [
        ("why sleep matters, to everybody!", "doc2query", Dropped.LIKE_TITLE),
        ("Ep. 12 – Why sleep matters to everybody", "doc2query", Dropped.LIKE_TITLE),
        ("why does sleep matter to everybody", "doc2query", None),
        ("Why sleep matters to everybody", "title", None),  # there it is held out of the text
    ],
)
def test_a_model_that_copies_the_title_teaches_nothing(text: str, origin: str, reason: Dropped | None) -> None:
    passage = Passage("e1", "Ep. 12 – Why sleep matters to everybody", POSITIVE, "The Long Table")
    _, dropped = filter_queries([[Query(text, origin, passage.text(title=origin != "title"))]], [passage])
    assert dropped == ({reason: 1} if reason else {})


LONG = "a nurse cannot sleep after her shift and nothing she reads about melatonin"
"""Thirteen words of the text, in a row."""


@pytest.mark.parametrize(
    ("text", "origin", "reason"),
    [
        (LONG, "doc2query", Dropped.COPIED),
        (LONG.removeprefix("a "), "doc2query", None),
        (LONG.replace("nothing", "little"), "doc2query", None),
        (LONG, "lead", None),
    ],
)
def test_a_model_that_copies_a_long_piece_of_the_text_is_found_out(
    text: str, origin: str, reason: Dropped | None
) -> None:
    _, dropped = filter_queries([[Query(text, origin, POSITIVE)]])
    assert dropped == ({reason: 1} if reason else {})


@pytest.mark.parametrize("origin", ["title", "doc2query"])
def test_a_curated_query_never_trains_whoever_wrote_it_again(origin: str) -> None:
    own = Query("why nurses sleep badly", origin, POSITIVE)
    kept, dropped = filter_queries([[own]], curated=["Why nurses  SLEEP badly", "another"])
    assert kept == [[]]
    assert dropped == {Dropped.CURATED: 1}


def test_passages_that_are_not_those_of_the_queries_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        filter_queries([[query("why nurses sleep")]], [])
