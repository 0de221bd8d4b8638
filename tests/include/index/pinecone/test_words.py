"""Words on Pinecone: what is sent to be searched, what a query may hold, and texts as long as they come."""

from __future__ import annotations

import pytest

from include.index.contract import Metadata, Records
from include.index.pinecone import documents as documents_module
from include.index.pinecone.index import PineconeIndex
from include.index.pinecone.words import SEARCHED_CHARACTERS, asked, searched, unaccented
from tests.include.index.contract import DIMENSION, ids_of, metadata, random_vectors
from tests.standins.pinecone import Fault, PineconeStandIn


def fill(index: PineconeIndex, **texts: Metadata) -> None:
    index.create("ns", DIMENSION)
    index.upsert("ns", [Records(list(texts), random_vectors(len(texts)), list(texts.values()))])


def found(index: PineconeIndex, query: str, k: int = 10) -> list[str]:
    return ids_of(index.search_words("ns", [query], k)[0])


def test_words_are_compared_without_accents_width_and_case(index: PineconeIndex) -> None:
    fill(index, a=metadata(title="Café ＢＡＲ"), b=metadata(title="CAFE\u0301"), c=metadata(title="Tea"))
    assert [found(index, query) for query in ("cafe", "CAFÉ", "cafe\u0301", "bar", "ｂａｒ")] == [
        ["b", "a"],
        ["b", "a"],
        ["b", "a"],
        ["a"],
        ["a"],
    ]


def test_marks_of_other_scripts_make_other_letters() -> None:
    for text in ("ガラス", "हिन्दी", "ภาษาไทย", "日本", "🎧 ½ ﷺ"):
        assert unaccented(unaccented(text)) == unaccented(text)
    assert unaccented("ガ") == "ガ"
    assert unaccented("Ångström, naïve, ﬁne") == "angstrom, naive, fine"


@pytest.mark.parametrize("query", ["歴史", "日本の歴史", "猫", "ラジオ", "日本 ラジオ", "ประวัติ"])
def test_words_of_languages_without_spaces_are_found(index: PineconeIndex, query: str) -> None:
    """Pinecone would take the run of letters for one word, or for none, where it is too long."""
    right = metadata(title="日本の歴史について、毎週月曜日に放送される猫のラジオ", show_title="ประวัติศาสตร์")
    fill(index, a=right, b=metadata(title="本日は晴天", show_title="天気予報"))
    assert found(index, query) == ["a"]


def test_of_letters_without_spaces_pairs_are_searched_and_single_ones() -> None:
    text = searched(metadata(title="黒猫が go", show_title="犬"))
    assert text.split() == ["黒猫", "猫が", "黒", "猫", "が", "go", "犬"]
    assert asked("黒猫が") == " 黒猫 猫が "
    assert asked("猫") == " 猫 "
    assert asked("🎧") is None


@pytest.mark.parametrize(
    "query", ['"owl', "title:", "+ - !", "(", "AND OR NOT", "words:owl^9", "*", "\\", "\ud800", "{}[]~", "\x00"]
)
def test_no_sign_in_a_query_means_anything(index: PineconeIndex, query: str) -> None:
    fill(index, a=metadata(title="The owl"), b=metadata(title="A cat"))
    assert "b" not in found(index, query)
    assert found(index, f"{query} owl") == ["a"]


def test_a_query_without_a_word_asks_nothing(index: PineconeIndex, standin: PineconeStandIn) -> None:
    fill(index, a=metadata())
    standin.requests.clear()
    assert index.search_words("ns", ["", " ", "!?", "…"], 3) == [[], [], [], []]
    assert standin.count("search") == 0


def test_answers_stay_with_their_queries(index: PineconeIndex) -> None:
    fill(index, **{name: metadata(title=f"Episode {name}") for name in ("one", "two", "three")})
    queries = ["two", "?", "nobody", "one", ""]
    assert [ids_of(hits) for hits in index.search_words("ns", queries, 3)] == [["two"], [], [], ["one"], []]


def test_a_long_description_is_searched_and_shown_to_its_end(index: PineconeIndex) -> None:
    text = "héy " * ((SEARCHED_CHARACTERS - 1_000) // 4) + "needle"
    given = metadata(description=text)
    fill(index, a=given)
    (hits,) = index.search_words("ns", ["needle"], 1)
    assert hits[0].metadata == index.kept(given) == given


@pytest.mark.parametrize("sign", ["x ", "日", "🎧", '"', "\x01", "é", "ﷺ", "a b "])
def test_no_text_is_too_long(index: PineconeIndex, sign: str) -> None:
    """Pinecone refuses a searched text of more than 100 KB or 10,000 words, and more than 40 KB of others."""
    long = sign * 100_000
    given = Metadata(
        title=long,
        show_title=long,
        language=long,
        published_at=None,
        content_hash=long,
        model_version=long,
        podcast_id=long,
        description=long,
        categories=long,
        duration_seconds=2**31,
        audio_url="https://x.example/" + long,
    )
    fill(index, a=given)
    stored = index.fetch("ns", ["a"])["a"].metadata
    assert stored == index.kept(given)
    assert stored.description == long[:SEARCHED_CHARACTERS]
    assert stored.audio_url is None, "a part of an address leads nowhere"


def test_of_words_the_end_of_the_description_is_left_out() -> None:
    text = searched(metadata(title="Title", show_title="Show", categories="News", description="x " * 50_000))
    assert text.startswith("Title\nShow\nNews\nx x x")
    assert len(text) == SEARCHED_CHARACTERS


def test_many_hits_come_with_their_texts_too(
    index: PineconeIndex, standin: PineconeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In more than one request: an answer of Pinecone's has 4 MB at most."""
    count = 60
    fill(index, **{f"e{number:02d}": metadata(description="日" * 20_000 + f" {number}") for number in range(count)})
    monkeypatch.setattr(documents_module, "FETCH_IDS", 40)
    monkeypatch.setattr(documents_module, "WHOLE", 50)
    standin.requests.clear()
    (hits,) = index.search_words("ns", ["title"], 100)
    assert ids_of(hits) == [f"e{number:02d}" for number in range(count)]
    assert [hit.metadata.description for hit in hits] == ["日" * 20_000 for _ in range(count)]
    assert (standin.count("search"), standin.count("fetch")) == (1, 2)


def test_words_are_found_when_the_write_returns(index: PineconeIndex, standin: PineconeStandIn) -> None:
    """Pinecone indexes them some time after it can be read what was written."""
    standin.words_lag = 0.3
    fill(index, a=metadata(title="The owl"))
    assert found(index, "owl") == ["a"]


def test_texts_without_a_plain_word_are_not_waited_for(index: PineconeIndex, standin: PineconeStandIn) -> None:
    standin.words_lag = 1_000
    fill(index, a=metadata(title="Да", show_title="42"))
    assert index.count("ns") == 1


def test_words_are_searched_while_pinecone_is_busy(index: PineconeIndex, standin: PineconeStandIn) -> None:
    fill(index, a=metadata(title="The owl"))
    standin.faults += [Fault("search", status=429, headers={"Retry-After": "0"}), Fault("search", hang_up=True)]
    assert found(index, "owl") == ["a"]
    assert standin.faults == []
