from __future__ import annotations

from include.queries.keywords import CANDIDATES, keywords
from tests.include.queries.passages import SUBJECTS, catalogue, passage

FILLER = ["harbour", "violin", "glacier", "senate", "puppet", "orchard", "fossil", "ballet", "canyon", "lantern"]


def test_keywords_are_the_episodes_own_words() -> None:
    best = dict(zip(SUBJECTS, keywords(catalogue()), strict=True))
    assert best["bees"][0] == "bees"
    assert {"varroa", "mites"} & set(best["bees"])
    assert all(len(words) <= CANDIDATES for words in best.values())


def test_what_all_episodes_of_a_show_say_is_no_keyword() -> None:
    """The host's name stands in each of them and would be asked for as if it told them apart."""
    show = [passage(word, title=word, description=f"Anouk Terwilliger and a {word}") for word in FILLER]
    others = [passage(f"o{n}", title="x", description=f"{FILLER[n % 10]}s", show_title=f"o{n}") for n in range(90)]
    assert keywords(show + others)[: len(show)] == [[word] for word in FILLER]


def test_stop_words_of_any_language_are_no_keywords() -> None:
    """A few Norwegian shows among many English ones: seen against all texts, `ikke` is rare and would look telling."""
    norwegian = [
        passage(f"n{n}", title=f"{word} ikke", description=f"Det var ikke {word} som kom", language="Norwegian",
                show_title=f"show {n}")
        for n, word in enumerate(FILLER * 2)
    ]  # fmt: skip
    english = [
        passage(f"e{n}", title=word, description=f"A {word} again {n}", show_title=f"s{n}")
        for n, word in enumerate(FILLER * 20)
    ]
    found = keywords(norwegian + english)[: len(norwegian)]
    assert all({"ikke", "det", "var", "som"}.isdisjoint(words) for words in found)
    assert found[0] == ["harbour"]


def test_addresses_dates_and_halves_of_words_are_no_keywords() -> None:
    description = "Don't visit https://bees.example/hive or a@hive.org on Friday 3 August, it doesn't"
    words = keywords([passage(title="Bees", description=description)])[0]
    assert words == ["bees", "visit"]


def test_equal_words_are_ranked_by_their_place() -> None:
    """Alphabetical order would prefer words that begin with an a."""
    assert keywords([passage(title="x", description="zebra yellow apple")])[0] == ["zebra", "yellow", "apple"]


def test_no_words_no_keywords() -> None:
    assert keywords([]) == []
    empty = [passage(title="🎉", description="眠れない夜をどう過ごすか、専門家に聞きました。")]
    assert keywords(empty) == [[]]
