from __future__ import annotations

from pathlib import Path

import pytest

from include.episodes import snapshot
from include.index.contract import EpisodeIndex
from include.index.live import read_live
from include.index.plan import (
    OutdatedPlanError,
    Plan,
    begin_write,
    finish_write,
    forget,
    forget_lost,
    ids_to_delete,
    ids_to_upsert,
    load_plan,
    namespace_of,
    note_seconds,
    plan_reindex,
    read_journal,
    read_seconds,
    read_vectors,
)
from include.index.write import delete_withdrawn, upsert_shard, verify
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.workshop import (
    MODEL,
    NAMESPACE,
    RecordingIndex,
    content,
    embed,
    expected,
    reindex,
    write,
)

ROWS = [episode(number) for number in range(60)]


@pytest.fixture
def index(tmp_path: Path) -> RecordingIndex:
    return RecordingIndex(str(tmp_path / "index"))


def plan_of(store: ArtifactStore, model: str = MODEL) -> Plan:
    return plan_reindex(store, model_version=model, live=read_live(store))


def upserted(store: ArtifactStore, plan: Plan) -> list[str]:
    return sorted(key for shard in plan.shards for key in ids_to_upsert(store, plan, shard))


def counts(plan: Plan) -> dict[str, int]:
    return {name: getattr(plan, name) for name in ("added", "changed", "reembedded", "removed", "unchanged")}


class TestPlan:
    def test_without_a_snapshot_it_says_what_to_run(self, store: ArtifactStore) -> None:
        with pytest.raises(FileNotFoundError, match="run ingest_episodes first"):
            plan_of(store)

    def test_the_first_is_a_full_build(self, store: ArtifactStore) -> None:
        publish(store, ROWS)
        plan = plan_of(store)
        assert (plan.action, plan.previous_snapshot_id, plan.shards) == ("full", None, [0, 1, 2])
        assert counts(plan) == {"added": 60, "changed": 0, "reembedded": 0, "removed": 0, "unchanged": 0}
        assert load_plan(store, plan.plan_id) == plan
        assert upserted(store, plan) == [row["episode_id"] for row in ROWS]

    def test_a_new_snapshot_is_a_difference(self, store: ArtifactStore, index: EpisodeIndex) -> None:
        first = publish(store, ROWS)
        reindex(store, index)
        publish(store, [*ROWS[2:58], episode(58, title="New"), episode(59, language="Thai"), episode(60)])
        plan = plan_of(store)
        assert (plan.action, plan.previous_snapshot_id) == ("difference", first.snapshot_id)
        assert counts(plan) == {"added": 1, "changed": 2, "reembedded": 1, "removed": 2, "unchanged": 56}
        assert upserted(store, plan) == ["e0058", "e0059", "e0060"]
        assert ids_to_delete(store, plan).to_list() == ["e0000", "e0001"]

    def test_only_shards_with_something_to_write_are_named(self, store: ArtifactStore, index: EpisodeIndex) -> None:
        publish(store, ROWS)
        reindex(store, index)
        latest = publish(store, [*ROWS[:59], episode(59, title="New")])
        plan = plan_of(store)
        (shard,) = plan.shards
        assert [len(ids_to_upsert(store, plan, number)) for number in range(3)] == [
            int(number == shard) for number in range(3)
        ]
        assert "e0059" in snapshot.read(store, latest.snapshot_id, shards=[shard])["episode_id"].to_pylist()

    def test_removals_alone_leave_no_shard_to_write(self, store: ArtifactStore, index: EpisodeIndex) -> None:
        publish(store, ROWS)
        reindex(store, index)
        publish(store, ROWS[:50])
        plan = plan_of(store)
        assert (plan.action, plan.shards, plan.removed) == ("difference", [], 10)

    def test_the_live_snapshot_needs_nothing(self, store: ArtifactStore, index: EpisodeIndex) -> None:
        publish(store, ROWS)
        reindex(store, index)
        plan = plan_of(store)
        assert (plan.action, plan.shards, plan.unchanged) == ("nothing", [], 60)

    def test_what_is_verified_but_not_live_is_still_to_be_activated(
        self, store: ArtifactStore, index: EpisodeIndex
    ) -> None:
        publish(store, ROWS)
        plan = plan_of(store)
        write(store, index, plan)
        verify(store, index, plan)
        assert (plan_of(store).action, counts(plan_of(store))["unchanged"]) == ("difference", 60)

    def test_another_model_is_built_in_full(self, store: ArtifactStore, index: EpisodeIndex) -> None:
        publish(store, ROWS)
        reindex(store, index)
        plan = plan_of(store, "m2")
        assert (plan.action, plan.namespace, plan.added) == ("full", namespace_of("m2"), 60)

    def test_a_snapshot_of_the_same_episodes_writes_nothing(self, store: ArtifactStore, index: EpisodeIndex) -> None:
        """But goes live: the pointer names the snapshot that search's answers are from."""
        publish(store, ROWS)
        reindex(store, index)
        publish(store, ROWS, source="v2")
        plan = plan_of(store)
        assert (plan.action, plan.shards, plan.unchanged) == ("difference", [], 60)

    def test_the_same_situation_has_the_same_plan_and_another_has_another(
        self, store: ArtifactStore, index: EpisodeIndex
    ) -> None:
        publish(store, ROWS)
        first = plan_of(store)
        assert plan_of(store) == first
        assert plan_of(store, "m2").plan_id != first.plan_id
        begin_write(store, first, index.name)
        assert plan_of(store).plan_id != first.plan_id, "the namespace may hold something now"

    def test_a_plan_is_not_overwritten_when_it_was_carried_out(self, store: ArtifactStore, index: EpisodeIndex) -> None:
        publish(store, ROWS)
        plan = plan_of(store)
        write(store, index, plan)
        verify(store, index, plan)
        activating = reindex(store, index)
        assert activating.action == "difference"
        assert plan_of(store).action == "nothing"
        assert load_plan(store, activating.plan_id) == activating

    def test_a_snapshot_that_was_deleted_is_no_ground_for_a_difference(
        self, store: ArtifactStore, index: EpisodeIndex
    ) -> None:
        first = publish(store, ROWS)
        reindex(store, index)
        publish(store, ROWS[1:])
        store.remove(snapshot.FOLDER, first.snapshot_id)
        plan = reindex(store, index)
        assert plan.action == "full"
        assert content(index) == expected(ROWS[1:])


class TestJournal:
    def test_it_names_every_snapshot_until_one_is_verified(self, store: ArtifactStore, index: EpisodeIndex) -> None:
        assert read_journal(store, NAMESPACE).states == [None]
        ids: list[str] = []
        for number in range(3):
            ids.append(publish(store, ROWS[number:]).snapshot_id)
            plan = plan_of(store)
            begin_write(store, plan, index.name)
            begin_write(store, plan, index.name)
        assert read_journal(store, NAMESPACE).states == [None, *ids]
        finish_write(store, plan)
        assert read_journal(store, NAMESPACE).states == ids[-1:]
        forget(store, NAMESPACE)
        assert read_journal(store, NAMESPACE).states == [None]

    def test_it_compares_with_all_that_may_be_there(self, store: ArtifactStore, index: EpisodeIndex) -> None:
        """An episode edited by an interrupted run and edited back since must be written again."""
        publish(store, ROWS)
        reindex(store, index)
        publish(store, [episode(0, title="Edited"), *ROWS[1:], episode(60)])
        begin_write(store, plan_of(store), index.name)
        publish(store, [*ROWS[:59], episode(59, title="Edited")])
        plan = plan_of(store)
        assert (upserted(store, plan), ids_to_delete(store, plan).to_list()) == (["e0000", "e0059"], ["e0060"])

    def test_a_step_of_an_earlier_plan_is_refused(self, store: ArtifactStore, index: RecordingIndex) -> None:
        """Cleared by hand after a later run, it would bring old records back without anyone noting it."""
        publish(store, ROWS)
        reindex(store, index)
        publish(store, [*ROWS[:59], episode(59, title="Old")])
        old = reindex(store, index)
        latest = [*ROWS[:59], episode(59, title="New")]
        publish(store, latest)
        reindex(store, index)
        index.upserted.clear()
        journal = read_journal(store, NAMESPACE)
        for step in (
            lambda: begin_write(store, old, index.name),
            lambda: upsert_shard(store, index, old, old.shards[0]),
            lambda: delete_withdrawn(store, index, old),
            lambda: verify(store, index, old),
            lambda: finish_write(store, old),
        ):
            with pytest.raises(OutdatedPlanError, match="planned again"):
                step()
        assert index.upserted == []
        assert read_journal(store, NAMESPACE) == journal
        assert content(index) == expected(latest)

    def test_the_steps_of_the_last_plan_can_be_repeated(self, store: ArtifactStore, index: RecordingIndex) -> None:
        publish(store, ROWS)
        plan = reindex(store, index)
        assert embed(store, plan) == []
        for shard in plan.shards:
            upsert_shard(store, index, plan, shard)
        delete_withdrawn(store, index, plan)
        verify(store, index, plan)
        assert content(index) == expected(ROWS)

    def test_a_plan_that_waited_is_begun_only_if_the_namespace_is_as_it_was(
        self, store: ArtifactStore, index: RecordingIndex
    ) -> None:
        """Approved after a later run has written, its difference would be one to another state."""
        publish(store, ROWS)
        reindex(store, index)
        publish(store, ROWS[:30])
        waiting = plan_of(store)
        assert plan_of(store) == waiting, "what was planned and not begun is planned the same again"
        publish(store, ROWS[:50])
        reindex(store, index)
        with pytest.raises(OutdatedPlanError, match="planned again"):
            begin_write(store, waiting, index.name)
        assert content(index) == expected(ROWS[:50])

    @pytest.mark.parametrize("lost", [False, True])
    def test_only_a_namespace_that_is_gone_is_built_in_full_again(
        self, store: ArtifactStore, index: RecordingIndex, tmp_path: Path, lost: bool
    ) -> None:
        publish(store, ROWS)
        reindex(store, index)
        publish(store, ROWS[1:])
        forget_lost(store, NAMESPACE, RecordingIndex(str(tmp_path / "another")) if lost else index)
        assert plan_of(store).action == ("full" if lost else "difference")


def test_a_damaged_journal_is_as_good_as_none(store: ArtifactStore, index: RecordingIndex) -> None:
    publish(store, ROWS)
    reindex(store, index)
    (name,) = store.names("namespaces")
    store.write_bytes(b"{", "namespaces", name)
    assert plan_of(store).action == "full"


def test_seconds_of_mapped_tasks_are_added_up_and_those_of_a_repeated_one_replaced(store: ArtifactStore) -> None:
    assert read_seconds(store, "p1") == {}
    for step, number, seconds, vectors in (
        ("encode", 0, 9.0, 20),
        ("encode", 0, 1.5, 5),
        ("encode", 1, 2.0, 8),
        ("verify", 0, 0.5, None),
    ):
        note_seconds(store, "p1", step, number, seconds, vectors=vectors)
    assert read_seconds(store, "p1") == {"encode": 3.5, "verify": 0.5}
    assert read_vectors(store, "p1") == {"encode": 13, "verify": 0}
