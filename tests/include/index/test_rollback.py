from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from include.episodes import snapshot
from include.errors import PermanentError
from include.evaluation.comparison import find_candidate
from include.index.contract import EpisodeIndex
from include.index.lancedb import LanceIndex
from include.index.live import FILE, LivePointer, RefusedModelError, history, read_live, require_live
from include.index.plan import namespace_of, plan_reindex
from include.index.retire import retire
from include.index.retire_models import retire_models
from include.index.rollback import Rollback, RollbackError, plan_rollback, question, roll_back
from include.index.write import verify
from include.retriever import registry
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.workshop import (
    Fuse,
    Killed,
    MortalStore,
    RecordingIndex,
    activate,
    content,
    expected,
    register,
    reindex,
    write,
)

ROWS = [episode(number) for number in range(30)]
FIRST, SECOND = namespace_of("m1"), namespace_of("m2")
LATER = [*ROWS[2:], episode(30)]


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """m1 was live, m2 is; the catalogue has changed since m1 was left."""
    folder = tmp_path_factory.mktemp("changed")
    store, index = ArtifactStore(folder / "artifacts"), LanceIndex(str(folder / "index"))
    publish(store, ROWS)
    for age, version in ((2, "m1"), (1, "m2")):
        register(store, version, age=age)
        reindex(store, index, version)
    publish(store, LATER)
    reindex(store, index, "m2")
    return folder


@pytest.fixture
def index(changed: Path, tmp_path: Path) -> RecordingIndex:
    """A copy of it, which ``store`` is a part of, under the name that was noted."""
    shutil.copytree(changed, tmp_path, dirs_exist_ok=True)
    index = RecordingIndex(str(tmp_path / "index"))
    index.name = str(changed / "index")
    return index


def plan(store: ArtifactStore, index: EpisodeIndex) -> Rollback:
    return plan_rollback(store, lambda _: index)


def remove_snapshot_behind(store: ArtifactStore) -> None:
    previous = require_live(store).previous
    assert previous is not None
    store.remove(snapshot.FOLDER, previous.snapshot_id)


def go(store: ArtifactStore, index: EpisodeIndex) -> None:
    roll_back(store, plan(store, index), lambda _: index)


class TestPlan:
    def test_it_shows_both_sides(self, store: ArtifactStore, index: RecordingIndex) -> None:
        rollback = plan(store, index)
        assert (rollback.current.namespace, rollback.target.namespace, rollback.rows) == (SECOND, FIRST, 30)
        measured = {"test": {"recall@30": 0.5}}
        rollback.target.metrics, rollback.current.metrics = measured, {"test": {"recall@30": 0.75}}
        text = question(rollback)
        for part in ("| model | m2 | m1 |", rollback.target.snapshot_id, "30 episodes", "0.750 | 0.500", "m2 does not"):
            assert part in text

    def test_before_anything_is_live_it_says_so(self, store: ArtifactStore, tmp_path: Path) -> None:
        with pytest.raises(RollbackError, match="Nothing is live yet"):
            plan(store, RecordingIndex(str(tmp_path)))

    def test_the_first_model_has_nothing_behind_it(self, store: ArtifactStore, tmp_path: Path) -> None:
        index = RecordingIndex(str(tmp_path / "index"))
        publish(store, ROWS)
        reindex(store, index, "m1")
        with pytest.raises(RollbackError, match="nothing to go back to: m1"):
            plan(store, index)

    @pytest.mark.parametrize(
        ("lost", "message"),
        [
            (lambda store, index: index.drop(FIRST), "no longer has its namespace"),
            (lambda store, index: index.delete(FIRST, ["e0003"]), "has 29 records, but its snapshot has 30"),
            (lambda store, index: store.remove(registry.FOLDER, "m1"), "is no longer in the registry"),
            (lambda store, index: remove_snapshot_behind(store), "its snapshot is gone"),
        ],
        ids=["namespace", "rows", "model", "snapshot"],
    )
    def test_what_is_not_there_any_more_is_not_gone_back_to(
        self, store: ArtifactStore, index: RecordingIndex, lost: Any, message: str
    ) -> None:
        """Neither when it is planned, nor when it was lost between the question and the answer."""
        rollback, before = plan(store, index), read_live(store)
        lost(store, index)
        with pytest.raises(RollbackError, match=message):
            plan(store, index)
        with pytest.raises(RollbackError, match=message):
            roll_back(store, rollback, lambda _: index)
        assert read_live(store) == before

    def test_the_index_that_the_pointer_names_is_asked(self, store: ArtifactStore, index: RecordingIndex) -> None:
        live = store.read_json(FILE)
        live["previous"] |= {"backend": "pinecone", "index": "before"}
        store.write_json(live, FILE)
        asked: list[tuple[str, str]] = []

        def open_index(pointer: LivePointer) -> EpisodeIndex:
            asked.append((pointer.backend, pointer.index))
            return index

        roll_back(store, plan_rollback(store, open_index), open_index)
        assert asked == [("pinecone", "before")] * 2
        assert require_live(store).backend == "pinecone", "search opens it by the pointer"


class TestRollBack:
    def test_only_the_pointer_changes(self, store: ArtifactStore, index: RecordingIndex) -> None:
        before = require_live(store)
        go(store, index)
        live = require_live(store)
        assert before.previous is not None
        changed = {"activated_at": live.activated_at, "previous": before.before(), "refused": ["m2"]}
        assert live == before.previous.model_copy(update=changed)
        assert live.activated_at > before.activated_at
        assert (index.upserted, index.deleted) == ([], [])
        assert content(index, FIRST) == expected(ROWS, "m1")

    def test_it_can_be_undone(self, store: ArtifactStore, index: RecordingIndex) -> None:
        before = require_live(store)
        go(store, index)
        go(store, index)
        live = require_live(store)
        assert (live.namespace, live.snapshot_id, live.refused) == (SECOND, before.snapshot_id, ["m1"])
        assert live.previous is not None
        assert live.previous.namespace == FIRST

    def test_repeating_it_changes_nothing(self, store: ArtifactStore, index: RecordingIndex) -> None:
        """Neither a retry, nor an old task that was cleared after the daily difference went live."""
        rollback = plan(store, index)
        once = roll_back(store, rollback, lambda _: index)
        assert roll_back(store, rollback, lambda _: index) == once == read_live(store)
        reindex(store, index, "m1")
        daily = read_live(store)
        assert roll_back(store, rollback, lambda _: index) == daily == read_live(store)

    def test_killed_before_or_after_the_pointer_is_written_it_is_done_whole_or_not_at_all(
        self, store: ArtifactStore, index: RecordingIndex
    ) -> None:
        rollback, before = plan(store, index), read_live(store)
        mortal = MortalStore(str(store.root), Fuse(0))
        with pytest.raises(Killed):
            roll_back(mortal, rollback, lambda _: index)
        assert read_live(store) == before
        mortal.fuse.left = 1
        with pytest.raises(Killed):
            roll_back(mortal, rollback, lambda _: index)
        done = read_live(store)
        assert done is not None
        assert done.namespace == rollback.target.namespace, "one write is enough"
        assert roll_back(store, rollback, lambda _: index) == done == history(store, most=1)[0]

    @pytest.mark.parametrize("moved", ["a new snapshot", "a new model", "there and back"])
    def test_a_pointer_that_moved_since_the_question_is_left_alone(
        self, store: ArtifactStore, index: RecordingIndex, moved: str
    ) -> None:
        rollback = plan(store, index)
        if moved == "a new snapshot":
            publish(store, ROWS)
            reindex(store, index, "m2")
        elif moved == "a new model":
            register(store, "m3")
            reindex(store, index, "m3")
        else:
            go(store, index)
            go(store, index)
        now = read_live(store)
        with pytest.raises(RollbackError, match="What is live has changed since you were asked"):
            roll_back(store, rollback, lambda _: index)
        assert read_live(store) == now

    def test_an_activation_that_was_repeated_is_no_other(self, store: ArtifactStore, index: RecordingIndex) -> None:
        """A cleared task may have written the same pointer with new metrics while the question was open."""
        rollback = plan(store, index)
        activate(store, index, plan_reindex(store, model_version="m2", live=read_live(store)))
        assert roll_back(store, rollback, lambda _: index).namespace == FIRST

    def test_a_task_fails_at_once_on_it(self) -> None:
        assert issubclass(RollbackError, PermanentError)


class TestEarlierFormat:
    """After an upgrade, what was live before has records that this release neither writes nor mixes with its own."""

    @pytest.fixture(scope="class")
    @classmethod
    def changed(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """m1 was live in a namespace of the earlier format, and is now in one of this."""
        folder = tmp_path_factory.mktemp("upgraded")
        store, index = ArtifactStore(folder / "artifacts"), LanceIndex(str(folder / "index"))
        publish(store, ROWS)
        register(store, "m1")
        with pytest.MonkeyPatch.context() as earlier:
            earlier.setattr("include.index.plan._SUFFIX", "")
            reindex(store, index, "m1")
        assert require_live(store).namespace == "m1"
        reindex(store, index, "m1")
        assert require_live(store).namespace == FIRST
        return folder

    def test_the_next_run_does_not_undo_it(self, store: ArtifactStore, index: RecordingIndex) -> None:
        """The same model is no other; what was left is the namespace."""
        rollback = plan(store, index)
        assert f"{FIRST} does not go live again by itself" in question(rollback)
        assert "stays on that snapshot: the namespace has an earlier format" in question(rollback)
        go(store, index)
        live = require_live(store)
        assert (live.namespace, live.refused) == ("m1", [FIRST])
        publish(store, LATER)
        with pytest.raises(RefusedModelError, match="run rollback_index to undo the rollback"):
            reindex(store, index, "m1")
        assert require_live(store) == live

    def test_it_can_be_undone_by_a_person(self, store: ArtifactStore, index: RecordingIndex) -> None:
        go(store, index)
        assert "earlier format" not in question(plan(store, index))
        go(store, index)
        publish(store, LATER)
        reindex(store, index, "m1")
        live = require_live(store)
        assert (live.namespace, live.refused) == (FIRST, []), "the namespace that was left has the model's own name"
        assert content(index, FIRST) == expected(LATER, "m1")

    def test_another_model_goes_live_all_the_same(self, store: ArtifactStore, index: RecordingIndex) -> None:
        go(store, index)
        register(store, "m2")
        assert find_candidate(store, base="base", live=read_live(store), tolerance=0.05) == "m2"
        reindex(store, index, "m2")
        assert require_live(store).namespace == SECOND

    def test_an_earlier_model_comes_into_the_new_format(
        self, store: ArtifactStore, index: RecordingIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who goes back from a model wants the one before, and not its old records: these follow the episodes."""
        register(store, "m2")
        with monkeypatch.context() as earlier:
            earlier.setattr("include.index.plan._SUFFIX", "")
            reindex(store, index, "m2")
        register(store, "m3")
        reindex(store, index, "m3")
        go(store, index)
        assert (require_live(store).namespace, require_live(store).refused) == ("m2", ["m3"])
        assert find_candidate(store, base="base", live=read_live(store), tolerance=0.05) is None
        reindex(store, index, "m2")
        assert (require_live(store).namespace, require_live(store).refused) == (SECOND, ["m3"])


class TestAfterwards:
    def test_the_next_run_does_not_go_forward_by_itself(self, store: ArtifactStore, index: RecordingIndex) -> None:
        go(store, index)
        live = read_live(store)
        assert find_candidate(store, base="base", live=live, tolerance=0.05) is None
        reindex(store, index, "m1")
        assert find_candidate(store, base="base", live=read_live(store), tolerance=0.05) is None
        go(store, index)
        assert require_live(store).namespace == SECOND
        reindex(store, index, "m2")
        assert require_live(store).namespace == SECOND, "a person's going forward lifts the refusal"

    def test_the_next_run_brings_it_up_to_date_by_the_difference(
        self, store: ArtifactStore, index: RecordingIndex
    ) -> None:
        go(store, index)
        done = reindex(store, index, "m1")
        assert (done.action, done.added, done.removed) == ("difference", 1, 2)
        assert sorted(index.upserted) == ["e0030"]
        assert sorted(index.deleted) == ["e0000", "e0001"]
        assert content(index, FIRST) == expected(LATER, "m1")
        live = require_live(store)
        latest = snapshot.latest(store)
        assert latest is not None
        assert live.previous is not None
        assert (live.snapshot_id, live.previous.namespace) == (latest.snapshot_id, SECOND)

    def test_a_run_that_was_going_all_the_while_does_not_undo_it(
        self, store: ArtifactStore, index: RecordingIndex
    ) -> None:
        """It has brought m2 a later snapshot by then; going forward to it is possible all the same."""
        publish(store, LATER[5:])
        going = plan_reindex(store, model_version="m2", live=read_live(store))
        write(store, index, going)
        go(store, index)
        verify(store, index, going)
        with pytest.raises(RefusedModelError):
            activate(store, index, going)
        assert require_live(store).namespace == FIRST
        go(store, index)
        assert (require_live(store).namespace, require_live(store).snapshot_id) == (SECOND, going.snapshot_id)

    def test_a_rollback_while_a_run_has_written_half_is_possible(
        self, store: ArtifactStore, index: RecordingIndex
    ) -> None:
        publish(store, ROWS[:3])
        write(store, index, plan_reindex(store, model_version="m2", live=read_live(store)))
        go(store, index)
        assert require_live(store).namespace == FIRST

    def test_what_it_needs_is_never_retired(self, store: ArtifactStore, index: RecordingIndex) -> None:
        def tidy() -> list[str]:
            return [*retire(store, index, keep=1), *retire_models(store, index, keep=1)]

        assert tidy() == []
        go(store, index)
        reindex(store, index, "m1")
        assert tidy() == []
        go(store, index)
        assert require_live(store).namespace == SECOND


def test_when_it_was_done_is_when_it_went_live(store: ArtifactStore, index: RecordingIndex) -> None:
    before = datetime.now(UTC)
    go(store, index)
    assert before <= require_live(store).activated_at <= datetime.now(UTC)
