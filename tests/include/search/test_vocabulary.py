"""What is suggested as somebody types, and what a word with a slip was meant to be."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.search import vocabulary
from include.search.vocabulary import Vocabularies, Vocabulary
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish

SHOWS = [("The Sleep Show", "p1"), ("Café Crème", "p2"), ("睡眠の番組", "p3")]
EPISODES = [
    ("Sleep like a bear", "e1"),
    ("Why we sleep", "e2"),
    ("sleep LIKE a bear", "e3"),
    ("The sleep show", "e4"),
    ("Holidays\x00 &\n <b>bears</b>", "e5"),
    ("Holidays without sleep", "e6"),
    ("#35: Don’t “panic” – breathe", "e7"),
    ("[News] Owls", "e8"),
    ("2017_12_01_whales", "e9"),
]


@pytest.fixture(scope="module")
def words() -> Vocabulary:
    return Vocabulary("s1", SHOWS, EPISODES)


def suggested(words: Vocabulary, beginning: str, k: int = 10) -> list[str]:
    return [one.id for one in words.suggest(beginning, k)]


def test_titles_that_begin_so_come_before_those_with_a_word_that_does_and_shows_before_episodes(
    words: Vocabulary,
) -> None:
    assert suggested(words, "sleep") == ["e1", "p1", "e2", "e6"]
    assert suggested(words, "sleep", k=2) == ["e1", "p1"]
    assert suggested(words, "sleep l") == ["e1"]
    assert [one.kind for one in words.suggest("the", 10)] == ["show"]


@pytest.mark.parametrize("typed", ["cafe", "CAFÉ C", "cafe\u0301", "ｃａｆｅ", "  café  c"])
def test_case_accents_width_and_space_do_not_matter(words: Vocabulary, typed: str) -> None:
    assert suggested(words, typed) == ["p2"]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("#35", "e7"),
        ('#35: Don\'t "panic" - breathe', "e7"),
        ("don't \"p", "e7"),
        ("don’t “p", "e7"),
        ('"panic', "e7"),
        ("[news", "e8"),
        ("owls ", "e8"),
        ("whale", "e9"),
        ("2017_12", "e9"),
        ("café crème ", "p2"),
    ],
)
def test_a_title_is_found_as_it_is_written_or_as_a_keyboard_writes_it(
    words: Vocabulary, typed: str, found: str
) -> None:
    assert suggested(words, typed) == [found]


def test_a_word_begins_anywhere_where_there_is_no_space_between_words(words: Vocabulary) -> None:
    assert suggested(words, "番") == ["p3"]
    assert suggested(words, "leep") == []


@pytest.mark.parametrize("typed", ["", "  ", "?!", "zzz", "\ud800", "\x00", "%", "'; DROP", "x" * 10_000])
def test_what_nothing_begins_with_suggests_nothing(words: Vocabulary, typed: str) -> None:
    assert suggested(words, typed) == []


def test_a_suggestion_is_one_line_of_plain_text(words: Vocabulary) -> None:
    (one,) = words.suggest("holidays &", 10)
    assert one.text == "Holidays & <b>bears</b>"


def test_an_empty_catalogue_suggests_nothing() -> None:
    assert Vocabulary("s1", [], []).suggest("a", 10) == []


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("holydays", "holidays"),  # another letter
        ("hollidays for bears", "holidays for bears"),  # one too many, beside a word that is there
        ("Hoildays", "holidays"),  # two exchanged
        ("holidys, please", "holidays, please"),  # one left out
        ("holidays", None),
        ("hilodyas", None),  # more than one slip: anything might be meant
        ("slep", "sleep"),
        ("bear", None),
        ("sle", None),  # too short to be sure
        ("s1eep", None),  # no word
        ("don't", None),
    ],
)
def test_a_slip_is_put_right_by_a_word_of_titles(words: Vocabulary, query: str, meant: str | None) -> None:
    assert words.meant(query, lambda word: False) == meant


def test_a_word_that_is_in_a_description_is_no_slip(words: Vocabulary) -> None:
    assert words.meant("holydays slep", lambda word: word == "holydays") == "holydays sleep"


def test_a_large_catalogue_has_its_newest_titles_and_largest_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "MAX_EPISODES", 2)
    monkeypatch.setattr(vocabulary, "MAX_SHOWS", 1)
    store = ArtifactStore(tmp_path)
    days = [datetime(2017, 12, day, tzinfo=UTC) for day in (1, 3, 2)]
    rows = [
        episode(number, title=f"Rocket {number}", published_at=day, podcast_id="large", show_title="Large")
        for number, day in enumerate(days)
    ]
    rows.append(episode(9, title="Rocket 9", published_at=None, podcast_id="small", show_title="Small"))
    words = Vocabulary.of(store, publish(store, rows, shards=2).snapshot_id)
    assert suggested(words, "rocket") == ["e0001", "e0002"]
    assert [one.text for one in words.shows] == ["Large"]


def test_while_new_titles_are_read_those_before_are_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArtifactStore(tmp_path)
    first = publish(store, [episode(1, title="Before")], shards=1).snapshot_id
    second = publish(store, [episode(1, title="After")], shards=1).snapshot_id
    kept = Vocabularies(store)
    assert kept.at_hand(first) is None
    assert suggested(kept.of(first), "before") == ["e0001"]
    reading, read = threading.Event(), Vocabulary.of

    def slowly(store: ArtifactStore, snapshot_id: str) -> Vocabulary:
        assert reading.wait(30)
        return read(store, snapshot_id)

    monkeypatch.setattr(Vocabulary, "of", slowly)
    assert [kept.of(second).snapshot_id for _ in range(3)] == [first] * 3
    reading.set()
    deadline = time.monotonic() + 30
    while kept.of(second).snapshot_id == first:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert suggested(kept.of(second), "after") == ["e0001"]


def test_titles_that_cannot_be_read_leave_those_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = ArtifactStore(tmp_path)
    first = publish(store, [episode(1, title="Before")], shards=1).snapshot_id
    kept = Vocabularies(store)
    kept.of(first)
    kept.of("gone")
    deadline = time.monotonic() + 30
    while "gone cannot be read" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert kept.of(first).snapshot_id == first
