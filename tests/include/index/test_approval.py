from __future__ import annotations

import re
from pathlib import Path

import pytest

from include.index.approval import EXAMPLES, MAX_TITLE_CHARS, Withdrawal, body, loss_of, quoted, subject
from include.index.estimate import Cost
from include.index.lancedb import LanceIndex
from include.index.live import read_live
from include.index.plan import Plan, begin_write, plan_reindex
from include.index.write import verify
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.workshop import MODEL, reindex, write

ROWS = [episode(number) for number in range(60)]
COST = Cost(embed=1, write=2, delete=3, seconds=None)


@pytest.fixture
def index(store: ArtifactStore, tmp_path: Path) -> LanceIndex:
    """Sixty episodes are live."""
    index = LanceIndex(str(tmp_path / "index"))
    publish(store, ROWS)
    reindex(store, index)
    return index


def plan_of(store: ArtifactStore, model: str = MODEL) -> Plan:
    return plan_reindex(store, model_version=model, live=read_live(store))


def loss(store: ArtifactStore, model: str = MODEL) -> tuple[int, int]:
    found = loss_of(store, plan_of(store, model), read_live(store))
    return found.episodes, found.of


def test_a_first_build_takes_nothing_away(store: ArtifactStore) -> None:
    publish(store, ROWS)
    assert loss_of(store, plan_of(store), None) == Withdrawal()


def test_a_difference_takes_away_what_it_deletes(store: ArtifactStore, index: LanceIndex) -> None:
    publish(store, [*ROWS[15:], *(episode(number) for number in range(60, 90))])
    assert loss(store) == (15, 60), "what is added does not make up for it"


def test_a_new_model_takes_from_search_what_its_snapshot_does_not_have(store: ArtifactStore, index: LanceIndex) -> None:
    """Its namespace is empty, and nothing is deleted: yet search loses the same."""
    publish(store, ROWS[15:])
    assert plan_of(store, "m2").removed == 0
    assert loss(store, "m2") == (15, 60)


def test_what_an_interrupted_run_may_have_left_counts(store: ArtifactStore, index: LanceIndex) -> None:
    publish(store, [*ROWS, *(episode(number) for number in range(60, 70))])
    begin_write(store, plan_of(store), index.name)
    publish(store, ROWS[:50])
    assert loss(store) == (20, 60)


def test_what_is_verified_but_never_went_live_is_no_loss_to_search_but_to_its_namespace(store: ArtifactStore) -> None:
    index = LanceIndex(str(store.path("elsewhere")))
    publish(store, ROWS)
    plan = plan_of(store)
    write(store, index, plan)
    verify(store, index, plan)
    publish(store, ROWS[30:])
    assert loss(store) == (30, 60)


def test_examples_are_from_all_that_is_withdrawn(store: ArtifactStore, index: LanceIndex) -> None:
    publish(store, ROWS[40:])
    found = loss_of(store, plan_of(store), read_live(store))
    assert len(found.examples) == EXAMPLES
    assert sorted(int(title.split()[1]) for title, _ in found.examples) == list(range(0, 40, 4))


def test_the_question_has_what_one_decides_by(store: ArtifactStore, index: LanceIndex) -> None:
    publish(store, ROWS[15:])
    plan = plan_of(store)
    found = loss_of(store, plan, read_live(store))
    assert subject(found) == "Delete 15 of 60 episodes (25.0 %) from search?"
    text = body(plan, COST, found, allowed=0.1)
    for part in ("15 of 60", "25.0 %", "10.0 %", "0 added", "15 removed", str(COST), "`Episode 0`", "5 more"):
        assert part in text


HOSTILE = [
    "`` `code` ``",
    "[click](https://evil.example)",
    "![x](https://evil.example/pixel.png)",
    "<script>alert(1)</script>",
    "one\n\n# two\r\n- three",
    "www.evil.example and @everyone",
    "| a | b |",
    "\u202egnp.exe",
    "x" * 10_000,
]


@pytest.mark.parametrize("title", HOSTILE)
def test_titles_are_shown_and_do_nothing(title: str) -> None:
    """In a code span nothing is a link, an image or a tag; and nothing in it can end it."""
    text = quoted(title)
    assert re.fullmatch(r"`[^`\n\r]+`", text)
    assert len(text) <= MAX_TITLE_CHARS + 2
    assert "\u202e" not in text


def test_a_title_without_a_visible_character_is_a_dash() -> None:
    assert quoted("\u200b \x00") == "`–`"
