from __future__ import annotations

from pathlib import Path

import pytest

from include.index.estimate import ENCODING, KEPT, WRITING, Cost, estimate, keep_timing, read_timings
from include.index.lancedb import LanceIndex
from include.index.plan import Plan, note_seconds, plan_reindex
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.workshop import MODEL, embed, reindex

ROWS = [episode(number) for number in range(40)]


@pytest.fixture
def plan(store: ArtifactStore) -> Plan:
    """A full build of forty episodes."""
    publish(store, ROWS)
    return plan_reindex(store, model_version=MODEL, live=None)


def went_live(store: ArtifactStore, plan: Plan, name: str, *, encoding: tuple[int, float], writing: float) -> None:
    """An earlier plan: vectors and seconds of encoding, and seconds of writing as many."""
    earlier = plan.model_copy(update={"plan_id": name})
    vectors, seconds = encoding
    for shard in (0, 1):
        note_seconds(store, name, ENCODING, shard, seconds / 2, vectors=vectors // 2)
        note_seconds(store, name, WRITING, shard, writing / 2, vectors=vectors // 2)
    keep_timing(store, earlier)


def test_before_anything_was_measured_the_time_is_unknown(store: ArtifactStore, plan: Plan) -> None:
    cost = estimate(store, plan)
    assert cost == Cost(embed=40, write=40, delete=0, seconds=None)
    assert (
        str(cost)
        == "40 vectors to embed, 40 to write, 0 to delete; time: unknown, because no plan has been measured yet"
    )


def test_time_goes_by_the_vector(store: ArtifactStore, plan: Plan) -> None:
    went_live(store, plan, "earlier", encoding=(20, 100.0), writing=8.0)
    assert estimate(store, plan).seconds == pytest.approx(2 * 100 + 2 * 8)


def test_a_large_build_is_not_judged_by_a_small_one(store: ArtifactStore, plan: Plan) -> None:
    """Two vectors take nearly as long as a hundred: the model has to be opened."""
    went_live(store, plan, "large", encoding=(80, 80.0), writing=8.0)
    went_live(store, plan, "small", encoding=(2, 10.0), writing=1.0)
    assert estimate(store, plan).seconds == pytest.approx(40 + 4)


def test_what_was_embedded_before_is_written_only(store: ArtifactStore, plan: Plan) -> None:
    went_live(store, plan, "earlier", encoding=(20, 100.0), writing=8.0)
    embed(store, plan)
    cost = estimate(store, plan)
    assert (cost.embed, cost.write) == (0, 40)
    assert cost.seconds == pytest.approx(16)


def test_a_difference_costs_what_it_changes(store: ArtifactStore, tmp_path: Path) -> None:
    publish(store, ROWS)
    reindex(store, LanceIndex(str(tmp_path / "index")))
    publish(store, [*ROWS[3:38], episode(38, title="New"), episode(39, language="Thai"), episode(40)])
    cost = estimate(store, plan_reindex(store, model_version=MODEL, live=None))
    assert (cost.embed, cost.write, cost.delete) == (2, 3, 3)


def test_nothing_to_do_takes_no_time_even_if_nothing_was_measured(store: ArtifactStore, tmp_path: Path) -> None:
    publish(store, ROWS)
    reindex(store, LanceIndex(str(tmp_path / "index")))
    publish(store, ROWS[1:])
    cost = estimate(store, plan_reindex(store, model_version=MODEL, live=None))
    assert cost == Cost(embed=0, write=0, delete=1, seconds=0.0)


def test_timings_are_kept_once_a_plan_and_not_for_ever(
    store: ArtifactStore, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.index.estimate.KEPT", 3)
    for name in ("a", "b", "b", "c", "d"):
        went_live(store, plan, name, encoding=(20, 100.0), writing=8.0)
    assert [timing.plan_id for timing in read_timings(store)] == ["b", "c", "d"]
    assert KEPT > 365, "a full build of a year ago is still among them"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "less than a minute"), (29, "less than a minute"), (60, "about 1 minute"), (5_400, "about 90 minutes")],
)
def test_times_are_told_roughly(seconds: float, words: str) -> None:
    assert str(Cost(embed=1, write=1, delete=0, seconds=seconds)).endswith(f"time: {words}")
