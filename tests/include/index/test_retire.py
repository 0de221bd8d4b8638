from __future__ import annotations

from pathlib import Path

import pytest

from include.index.lancedb import LanceIndex
from include.index.live import require_live
from include.index.plan import namespace_of, plan_reindex, read_journal
from include.index.retire import retire
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.workshop import DIMENSION, content, expected, register, reindex

ROWS = [episode(number) for number in range(12)]
ALL = [namespace_of(version) for version in ("m1", "m2", "m3", "m4")]


@pytest.fixture
def index(tmp_path: Path) -> LanceIndex:
    return LanceIndex(str(tmp_path / "index"))


@pytest.fixture
def four(store: ArtifactStore, index: LanceIndex) -> LanceIndex:
    """m1 to m4 went live one after the other, and the catalogue changed since the last."""
    publish(store, ROWS)
    for age, version in ((4, "m1"), (3, "m2"), (2, "m3"), (1, "m4")):
        register(store, version, age=age)
        reindex(store, index, version)
    publish(store, ROWS[1:])
    reindex(store, index, "m4")
    return index


def test_before_anything_is_live_nothing_is_dropped(store: ArtifactStore, index: LanceIndex) -> None:
    register(store, "m1")
    index.create(namespace_of("m1"), DIMENSION)
    assert retire(store, index, keep=1) == []
    assert index.namespaces() == [namespace_of("m1")]


@pytest.mark.parametrize(("keep", "kept"), [(1, ALL[2:]), (2, ALL[2:]), (3, ALL[1:]), (9, ALL)])
def test_the_live_namespace_and_the_one_before_are_always_kept(
    store: ArtifactStore, four: LanceIndex, keep: int, kept: list[str]
) -> None:
    dropped = retire(store, four, keep=keep)
    assert sorted(four.namespaces()) == kept
    assert sorted([*dropped, *kept]) == ALL
    assert retire(store, four, keep=keep) == []
    assert content(four, namespace_of("m4")) == expected(ROWS[1:], "m4")
    pointer = require_live(store)
    assert pointer.previous is not None
    assert pointer.previous.namespace in kept


def test_a_dropped_namespace_is_built_in_full_when_it_is_needed_again(store: ArtifactStore, four: LanceIndex) -> None:
    retire(store, four, keep=2)
    assert read_journal(store, ALL[0]).states == [None]
    assert plan_reindex(store, model_version="m1", live=require_live(store)).action == "full"
    reindex(store, four, "m1")
    assert content(four, namespace_of("m1")) == expected(ROWS[1:], "m1")


def test_a_drop_that_was_interrupted_is_repeated(
    store: ArtifactStore, four: LanceIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal goes first: without it, what is left of the namespace counts as unknown."""

    def killed(_: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(four, "drop", killed)
        with pytest.raises(KeyboardInterrupt):
            retire(store, four, keep=3)
    assert read_journal(store, ALL[0]).states == [None]
    assert retire(store, four, keep=3) == ALL[:1]


def test_what_is_no_model_of_ours_is_left_alone(store: ArtifactStore, four: LanceIndex) -> None:
    four.create("somebody-elses", DIMENSION)
    assert retire(store, four, keep=1) == [ALL[1], ALL[0]]
    assert four.namespaces() == [*ALL[2:], "somebody-elses"]
