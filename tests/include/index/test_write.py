from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import lancedb
import pytest

from include.index.contract import IndexMismatchError, Records
from include.index.lancedb import LanceIndex
from include.index.live import read_live, require_live
from include.index.plan import OutdatedPlanError, forget, namespace_of, plan_reindex, read_journal
from include.index.retire import retire
from include.index.write import (
    LostNamespaceError,
    Verification,
    VerificationError,
    delete_withdrawn,
    prepare_namespace,
    texts_to_encode,
    upsert_shard,
    verify,
)
from include.retriever import encode
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import Row, episode, publish
from tests.include.index.contract import metadata
from tests.include.index.workshop import (
    DIMENSION,
    MODEL,
    NAMESPACE,
    RecordingIndex,
    activate,
    content,
    embed,
    embedding,
    expected,
    record,
    register,
    reindex,
    write,
    write_live,
)

ROWS = [episode(number) for number in range(60)]


@pytest.fixture
def index(tmp_path: Path) -> RecordingIndex:
    return RecordingIndex(str(tmp_path / "index"))


@pytest.fixture
def built(store: ArtifactStore, index: RecordingIndex) -> RecordingIndex:
    """The sixty episodes, live; what is recorded starts after them."""
    publish(store, ROWS)
    reindex(store, index)
    index.upserted.clear()
    index.deleted.clear()
    return index


def marked(index: LanceIndex, row: Row) -> Records:
    """The record of an episode as nobody would write it."""
    return Records([row["episode_id"]], embedding("another text")[None], [metadata(title="left as it was")])


class TestFullBuild:
    def test_it_writes_every_episode_once(self, store: ArtifactStore, index: RecordingIndex) -> None:
        publish(store, ROWS)
        plan = plan_reindex(store, model_version=MODEL, live=None)
        write(store, index, plan)
        assert read_live(store) is None
        verification = verify(store, index, plan)
        assert verification == Verification(
            namespace=plan.namespace, snapshot_id=plan.snapshot_id, rows=60, sampled=60, golden=60, kind="exact"
        )
        activate(store, index, plan)
        assert sorted(index.upserted) == [row["episode_id"] for row in ROWS]
        assert index.deleted == []
        assert content(index) == expected(ROWS)

    def test_an_empty_catalogue_is_an_empty_namespace(self, store: ArtifactStore, index: RecordingIndex) -> None:
        publish(store, [])
        reindex(store, index)
        assert index.count(NAMESPACE) == 0

    def test_shows_with_the_same_text_are_encoded_once_and_written_each(
        self, store: ArtifactStore, index: RecordingIndex
    ) -> None:
        rows = [ROWS[0], *(ROWS[0] | {"episode_id": f"twin{n}", "podcast_id": f"p{n}"} for n in range(8))]
        publish(store, rows)
        plan = plan_reindex(store, model_version=MODEL, live=None)
        assert len(plan.shards) == 3
        assert len(embed(store, plan)) == 1
        reindex(store, index)
        assert content(index) == expected(rows)


class TestDifference:
    def test_it_writes_what_is_new_or_changed_and_nothing_else(
        self, store: ArtifactStore, built: RecordingIndex
    ) -> None:
        untouched = ROWS[30]
        LanceIndex(built.name).upsert(NAMESPACE, [marked(built, untouched)])
        rows = [*ROWS[2:58], episode(58, title="New"), episode(59, language="Thai"), episode(60)]
        publish(store, rows)
        plan = plan_reindex(store, model_version=MODEL, live=read_live(store))
        write(store, built, plan)
        assert sorted(built.upserted) == ["e0058", "e0059", "e0060"]
        assert built.deleted == ["e0000", "e0001"]
        held, wanted = content(built), expected(rows)
        assert held.pop(untouched["episode_id"])[1].title == "left as it was"
        del wanted[untouched["episode_id"]]
        assert held == wanted

    def test_a_change_of_metadata_alone_encodes_nothing(self, store: ArtifactStore, built: RecordingIndex) -> None:
        rows = [episode(0, language="Thai"), episode(1, published_at=None), *ROWS[2:]]
        publish(store, rows)
        plan = plan_reindex(store, model_version=MODEL, live=read_live(store))
        assert [texts_to_encode(store, plan, shard) for shard in range(3)] == [{}, {}, {}]
        reindex(store, built)
        assert sorted(built.upserted) == ["e0000", "e0001"]
        assert content(built) == expected(rows)

    def test_a_text_that_comes_back_is_not_encoded_again(self, store: ArtifactStore, built: RecordingIndex) -> None:
        publish(store, [episode(0, title="For a day"), *ROWS[1:]])
        reindex(store, built)
        publish(store, ROWS)
        plan = plan_reindex(store, model_version=MODEL, live=read_live(store))
        assert (plan.reembedded, embed(store, plan)) == (1, [])

    def test_another_number_of_shards_encodes_and_writes_nothing(
        self, store: ArtifactStore, built: RecordingIndex
    ) -> None:
        """Though the vectors of most episodes lie in the folders of other shards now."""
        publish(store, ROWS, shards=7)
        reindex(store, built)
        assert built.upserted == []
        publish(store, [episode(0, language="Thai"), *ROWS[1:]], shards=2)
        plan = plan_reindex(store, model_version=MODEL, live=read_live(store))
        assert embed(store, plan) == []
        reindex(store, built)
        assert built.upserted == ["e0000"]
        assert content(built) == expected([episode(0, language="Thai"), *ROWS[1:]])

    def test_an_episode_may_move_to_another_show(self, store: ArtifactStore, built: RecordingIndex) -> None:
        moved = ROWS[59] | {"podcast_id": "another show of the same name"}
        publish(store, [*ROWS[:59], moved])
        reindex(store, built)
        assert content(built) == expected([*ROWS[:59], moved])

    def test_an_index_that_was_lost_is_built_anew_at_the_next_try(
        self, store: ArtifactStore, built: RecordingIndex
    ) -> None:
        built.drop(NAMESPACE)
        publish(store, ROWS[1:])
        with pytest.raises(LostNamespaceError, match="plan again"):
            reindex(store, built)
        assert reindex(store, built).action == "full"
        assert content(built) == expected(ROWS[1:])

    def test_another_index_is_not_taken_for_the_one_the_journal_speaks_of(
        self, store: ArtifactStore, built: RecordingIndex, tmp_path: Path
    ) -> None:
        other = RecordingIndex(str(tmp_path / "other"))
        other.create(NAMESPACE, DIMENSION)
        publish(store, ROWS[1:])
        with pytest.raises(LostNamespaceError):
            reindex(store, other)
        reindex(store, other)
        publish(store, ROWS[2:])
        with pytest.raises(LostNamespaceError):
            reindex(store, built)
        reindex(store, built)
        assert content(other) == expected(ROWS[1:])
        assert content(built) == expected(ROWS[2:])


class TestModelChange:
    def test_it_fills_a_namespace_of_its_own_and_then_flips(self, store: ArtifactStore, built: RecordingIndex) -> None:
        register(store, MODEL, age=1)
        register(store, "m2")
        before = content(built)
        plan = plan_reindex(store, model_version="m2", live=read_live(store))
        write(store, built, plan)
        verify(store, built, plan)
        assert require_live(store).namespace == NAMESPACE
        activate(store, built, plan)
        pointer = require_live(store)
        assert (pointer.namespace, pointer.model_version) == (namespace_of("m2"), "m2")
        assert pointer.previous is not None
        assert pointer.previous.namespace == NAMESPACE
        assert content(built) == before, "search by the old model was never touched"
        assert content(built, namespace_of("m2")) == expected(ROWS, "m2")

    def test_a_namespace_of_an_earlier_release_answers_until_its_successor_is_there(
        self, store: ArtifactStore, built: RecordingIndex
    ) -> None:
        """It was named after its model, and has no words; it stays what can be gone back to, and is retired in time."""
        register(store, MODEL)
        database = lancedb.connect(built.name)
        first = ["id", "vector", "title", "show_title", "language", "published_at", "content_hash", "model_version"]
        database.create_table(MODEL, database.open_table(NAMESPACE).to_arrow().select(first))
        built.drop(NAMESPACE)
        forget(store, NAMESPACE)
        write_live(store, require_live(store).model_copy(update={"namespace": MODEL}))
        query = embedding(ROWS[7]["content_hash"])[None]
        assert [hit.episode_id for hit in built.search_vectors(MODEL, query, 1)[0]] == ["e0007"]
        assert built.search_words(MODEL, ["episode 7"], 1) == [[]]

        plan = reindex(store, built)
        pointer = require_live(store)
        assert (plan.action, pointer.namespace, pointer.model_version) == ("full", NAMESPACE, MODEL)
        assert content(built) == expected(ROWS)
        assert pointer.previous is not None
        assert pointer.previous.namespace == MODEL
        assert retire(store, built, keep=1) == []
        for model in ("m2", "m3"):
            register(store, model)
            reindex(store, built, model)
        assert sorted(retire(store, built, keep=1)) == sorted([MODEL, NAMESPACE])

    def test_another_dimension_is_refused(self, store: ArtifactStore, built: RecordingIndex) -> None:
        plan = plan_reindex(store, model_version=MODEL, live=read_live(store))
        with pytest.raises(IndexMismatchError):
            prepare_namespace(store, built, plan, DIMENSION + 1)


class TestVerify:
    """It passes only what the snapshot has; what fails is built in full by the next run."""

    @pytest.mark.parametrize("kind", ["missing", "extra", "vector", "twice as many"])
    def test_it_catches(self, store: ArtifactStore, built: RecordingIndex, kind: str) -> None:
        plan = plan_reindex(store, model_version=MODEL, live=read_live(store))
        prepare_namespace(store, built, plan, DIMENSION)
        if kind == "missing":
            built.delete(NAMESPACE, ["e0007"])
            message = r"59 records instead of 60: 1 missing \(e0007\), 0 too many"
        elif kind == "extra":
            built.upsert(NAMESPACE, [marked(built, episode(99))])
            message = r"61 records instead of 60: 0 missing \(\), 1 too many \(e0099\)"
        elif kind == "vector":
            built.upsert(NAMESPACE, [marked(built, ROWS[7])])
            message = (
                "1 of 60 records compared in m1-format3 differ from those of the snapshot .*"
                r"\(e0007: title 'left as it was' instead of 'Episode 7', .*, another vector than was encoded\)"
            )
        else:
            built.delete(NAMESPACE, ["e0007"])
            built.upsert(NAMESPACE, [marked(built, episode(99))])
            message = r"60 records instead of 60: 1 missing \(e0007\), 1 too many \(e0099\)"
        with pytest.raises(VerificationError, match=message) as caught:
            verify(store, built, plan)
        assert "Run reindex_episodes again" in str(caught.value)
        assert read_journal(store, NAMESPACE).states == [None]

        repaired = reindex(store, built)
        assert repaired.action == "full"
        assert content(built) == expected(ROWS)
        assert read_journal(store, NAMESPACE).states == [repaired.snapshot_id]

    def test_its_retry_may_pass(self, store: ArtifactStore, built: RecordingIndex) -> None:
        """A hosted index answers from what was written only after a while."""
        plan = plan_reindex(store, model_version=MODEL, live=read_live(store))
        prepare_namespace(store, built, plan, DIMENSION)
        built.delete(NAMESPACE, ["e0007"])
        with pytest.raises(VerificationError):
            verify(store, built, plan)
        built.upsert(NAMESPACE, [record(ROWS[7])])
        verify(store, built, plan)
        assert read_journal(store, NAMESPACE).states == [plan.snapshot_id]

    def test_embeddings_that_were_lost_are_made_again(self, store: ArtifactStore, built: RecordingIndex) -> None:
        publish(store, [*ROWS[:59], episode(59, title="New")])
        plan = plan_reindex(store, model_version=MODEL, live=read_live(store))
        write(store, built, plan)
        store.remove(encode.FOLDER, MODEL)
        with pytest.raises(VerificationError, match="embeddings of 20 texts are gone"):
            verify(store, built, plan)
        plan = plan_reindex(store, model_version=MODEL, live=read_live(store))
        assert len(embed(store, plan)) == 60

    def test_what_was_not_verified_stays_in_the_journal(self, store: ArtifactStore, built: RecordingIndex) -> None:
        first = require_live(store).snapshot_id
        second = publish(store, ROWS[1:]).snapshot_id
        plan = plan_reindex(store, model_version=MODEL, live=read_live(store))
        write(store, built, plan)
        assert read_journal(store, NAMESPACE).states == [first, second]
        assert require_live(store).snapshot_id == first


def test_nothing_is_written_before_it_is_noted(store: ArtifactStore, index: RecordingIndex) -> None:
    """The journal would not know of it if the run ended there."""
    publish(store, ROWS)
    plan = plan_reindex(store, model_version=MODEL, live=None)
    index.create(plan.namespace, DIMENSION)
    embed(store, plan)
    with pytest.raises(Exception, match="planned again"):
        upsert_shard(store, index, plan, 0)
    with pytest.raises(Exception, match="planned again"):
        delete_withdrawn(store, index, plan)
    assert index.count(NAMESPACE) == 0


def test_a_plan_that_is_overtaken_stops_before_its_next_batch(
    store: ArtifactStore, built: RecordingIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody trusts the namespace, for what it had begun to write may come over what the other writes."""
    monkeypatch.setattr("include.index.write.UPSERT_BATCH", 7)
    publish(store, [episode(number, title="Edited") for number in range(60)])
    plan = plan_reindex(store, model_version=MODEL, live=read_live(store))
    prepare_namespace(store, built, plan, DIMENSION)
    embed(store, plan)
    taken: list[Records] = []

    def upsert(_: str, batches: Iterable[Records]) -> int:
        for batch in batches:
            taken.append(batch)
            if len(taken) == 2:
                publish(store, ROWS[1:])
                later = plan_reindex(store, model_version=MODEL, live=read_live(store))
                prepare_namespace(store, built, later, DIMENSION)
        return 0

    monkeypatch.setattr(built, "upsert", upsert)
    with pytest.raises(OutdatedPlanError, match="planned again"):
        upsert_shard(store, built, plan, 1)
    assert len(taken) == 2
    assert read_journal(store, NAMESPACE).plan_id is None, "the later plan is refused, too"
    assert plan_reindex(store, model_version=MODEL, live=read_live(store)).action == "full"


def test_large_shards_are_written_in_batches(
    store: ArtifactStore, index: RecordingIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.index.write.UPSERT_BATCH", 7)
    publish(store, ROWS)
    plan = reindex(store, index)
    assert content(index) == expected(ROWS)
    assert upsert_shard(store, index, plan, 1) > 7
