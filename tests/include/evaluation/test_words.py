"""What words find in an evaluation."""

from __future__ import annotations

from pathlib import Path

from include.evaluation.queries import QuerySet
from include.evaluation.words import rank_words, read_ranked
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish

ROWS = [
    episode(0, title="Why owls hunt at night", description="Feathers and ears."),
    episode(1, title="Bears", description="They sleep, and owls do not."),
    episode(2, title="Something else", description="Of no matter."),
]


def test_words_find_what_search_finds_and_only_in_the_catalogue(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    snapshot_id = publish(store, ROWS).snapshot_id
    asked = QuerySet("curated", ["the night owl", "nothing has xyzzy"], [["e0000"], ["e0001"]], ["curated"] * 2)
    found = read_ranked(rank_words(store, snapshot_id, ["e0000", "e0001", "e0002"], [asked]), asked)
    assert [[key for key, _ in answer] for answer in found] == [["e0000", "e0001"], []]
    assert found[0][0][1] > found[0][1][1] > 0
    found = read_ranked(rank_words(store, snapshot_id, ["e0001", "e0002"], [asked]), asked)
    assert [[key for key, _ in answer] for answer in found] == [["e0001"], []]


def test_words_that_a_query_was_taken_from_are_held_out(tmp_path: Path) -> None:
    """A title would find its own episode without any understanding; the words that are left may find it still."""
    store = ArtifactStore(tmp_path)
    snapshot_id = publish(store, ROWS).snapshot_id
    shown = "Show 0. About show 0."
    asked = QuerySet(
        "test",
        ["Why owls hunt at night", "ears, owls"],
        [["e0000"], ["e0000"]],
        ["title", "lead"],
        [f"Feathers and ears. {shown}", f"Why owls hunt at night. Feathers and ears. {shown}"],
    )
    plain = QuerySet("curated", ["hunt"], [["e0000"]], ["curated"])
    ranked = rank_words(store, snapshot_id, ["e0000", "e0001", "e0002"], [asked, plain])
    title, lead = read_ranked(ranked, asked)
    assert "e0000" not in [key for key, _ in title][:1]
    assert [key for key, _ in lead] == ["e0000", "e0001"]
    assert [key for key, _ in read_ranked(ranked, plain)[0]] == ["e0000"], "no stand-in of another query is a result"


def test_a_show_s_description_is_no_part_of_what_is_searched(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    snapshot_id = publish(store, ROWS).snapshot_id
    asked = QuerySet("test", ["about"], [["e0000"]], ["title"], ["Feathers and ears. Show 0. About show 0."])
    assert read_ranked(rank_words(store, snapshot_id, ["e0000"], [asked]), asked) == [[]]
