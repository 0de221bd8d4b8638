"""Verification as tests: each backend's test module subclasses :class:`VerificationContract`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from include.index import write as write_module
from include.index.contract import EpisodeIndex, Hit
from include.index.live import read_live, require_live
from include.index.plan import Plan, plan_reindex, read_journal
from include.index.write import MISSES, VerificationError, verify
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.workshop import MODEL, NAMESPACE, assert_settled, content, expected, record, reindex, write

FIRST = [episode(number) for number in range(40)]
SECOND = [episode(number, title=f"Edited {number}") for number in range(10)] + FIRST[10:]
WRITTEN, LEFT = SECOND[4], SECOND[14]
"""Of the records of a difference between the two, one that it writes and one that it leaves as it is."""
ELSE: dict[str, Any] = {
    "title": "Something else",
    "show_title": "Something else",
    "language": "Thai",
    "published_at": datetime(2018, 1, 1, tzinfo=UTC),
    "content_hash": "0123456789",
    "model_version": "m0",
    "podcast_id": "p99",
    "description": "Something else",
    "categories": "Science",
    "duration_seconds": 7,
    "audio_url": "https://example.org/other.mp3",
}


class VerificationContract:
    """It passes only what the snapshot has. A subclass gives the fixture ``index``: an empty :class:`EpisodeIndex`."""

    @pytest.fixture
    def index(self) -> EpisodeIndex:
        raise NotImplementedError("The backend's test class gives the index.")

    @pytest.fixture
    def plan(self, store: ArtifactStore, index: EpisodeIndex) -> Plan:
        """A difference that has been written, and not verified."""
        publish(store, FIRST, shards=2)
        reindex(store, index)
        publish(store, SECOND, shards=2)
        plan = plan_reindex(store, model_version=MODEL, live=read_live(store))
        write(store, index, plan)
        return plan

    def test_it_passes_what_is_right(self, store: ArtifactStore, index: EpisodeIndex, plan: Plan) -> None:
        verification = verify(store, index, plan)
        assert (verification.rows, verification.sampled, verification.golden) == (40, 40, 40)

    @pytest.mark.parametrize(
        ("row", "name"), [*((WRITTEN, name) for name in ELSE), pytest.param(LEFT, "title", id="left as it was")]
    )
    def test_other_metadata_is_found_and_named(
        self, store: ArtifactStore, index: EpisodeIndex, plan: Plan, row: dict[str, Any], name: str
    ) -> None:
        first = require_live(store)
        index.upsert(NAMESPACE, [record(row, **{name: ELSE[name]})])
        with pytest.raises(VerificationError) as raised:
            verify(store, index, plan)
        wanted = MODEL if name == "model_version" else row[name]
        assert str(raised.value) == (
            f"1 of 40 records compared in {NAMESPACE} differ from those of the snapshot {plan.snapshot_id} "
            f"({row['episode_id']}: {name} '{ELSE[name]}' instead of '{wanted}'). "
            "Run reindex_episodes again: it builds the namespace in full."
        )
        assert read_journal(store, NAMESPACE).states == [None]
        assert require_live(store) == first
        repaired = reindex(store, index)
        assert repaired.action == "full"
        assert_settled(store, index, SECOND, repaired.snapshot_id)

    def test_another_vector_is_found(self, store: ArtifactStore, index: EpisodeIndex, plan: Plan) -> None:
        """Also where it is so near that search would hardly tell."""
        near = record(WRITTEN)
        near.values[0, 0] += 1e-3
        index.upsert(NAMESPACE, [near])
        with pytest.raises(VerificationError, match=r"1 of 40 .*\(e0004: another vector than was encoded\)"):
            verify(store, index, plan)

    def test_what_a_backend_cuts_is_no_difference(self, store: ArtifactStore, index: EpisodeIndex) -> None:
        """Pinecone keeps a part of long texts; a verification that failed for them would fail for ever."""
        publish(
            store, [*FIRST, episode(40, title="ü" * 5_000, show_title="\N{HEADPHONE}" * 5_000, language="x" * 2_000)]
        )
        assert reindex(store, index).added == 41
        publish(store, FIRST)
        reindex(store, index)
        assert content(index) == expected(FIRST)

    def test_the_sample_is_bounded_and_mostly_of_what_was_written(
        self, store: ArtifactStore, index: EpisodeIndex, plan: Plan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A million records cannot be read again; what was written last is likelier to be wrong than the rest."""
        monkeypatch.setattr(write_module, "SAMPLED_WRITTEN", 8)
        monkeypatch.setattr(write_module, "SAMPLED_OTHERS", 3)
        monkeypatch.setattr(write_module, "GOLDEN", 5)
        read: list[list[str]] = [[], []]
        fetch = index.fetch
        for keys in read:
            with monkeypatch.context() as patch:
                patch.setattr(index, "fetch", lambda name, ids, keys=keys: keys.extend(ids) or fetch(name, ids))
                verification = verify(store, index, plan)
        assert (verification.sampled, verification.golden) == (11, 5)
        assert len({row["episode_id"] for row in SECOND[:10]}.intersection(read[0])) == 8
        assert read[0] == read[1], "a retry looks at the same"

    @pytest.mark.parametrize("lost", [MISSES, MISSES + 1])
    def test_a_vector_that_does_not_find_itself_is_found(
        self, store: ArtifactStore, index: EpisodeIndex, plan: Plan, monkeypatch: pytest.MonkeyPatch, lost: int
    ) -> None:
        """It is there, and fetched; but search, which goes another way, does not give it."""
        search = index.search_vectors

        def mislead(*arguments: Any) -> list[list[Hit]]:
            answers = search(*arguments)
            return [*([Hit("e0039", 0.9, hits[0].metadata)] for hits in answers[:lost]), *answers[lost:]]

        monkeypatch.setattr(index, "search_vectors", mislead)
        if lost > MISSES or index.kind(NAMESPACE) == "exact":
            with pytest.raises(VerificationError, match=rf"{lost} of 40 vectors of {NAMESPACE} do not find .* again"):
                verify(store, index, plan)
            assert read_journal(store, NAMESPACE).states == [None]
        else:
            assert verify(store, index, plan).golden == 40

    def test_words_that_do_not_find_their_record_are_found(
        self, store: ArtifactStore, index: EpisodeIndex, plan: Plan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They are stored, and shown; but the index of words has lost them."""
        search = index.search_words

        def lose(*arguments: Any) -> list[list[Hit]]:
            return [[], [], [], [], [], *search(*arguments)[5:]]

        monkeypatch.setattr(index, "search_words", lose)
        with pytest.raises(VerificationError, match=rf"5 of 40 records of {NAMESPACE} are not found by"):
            verify(store, index, plan)
        assert read_journal(store, NAMESPACE).states == [None]

    def test_equal_vectors_may_find_each_other(self, store: ArtifactStore, index: EpisodeIndex) -> None:
        """One text in many shows, as with networks that repeat an episode: which of them comes first says nothing."""
        twins = [FIRST[0] | {"episode_id": f"twin{number}", "podcast_id": f"p{number}"} for number in range(20)]
        publish(store, [*FIRST, *twins], shards=2)
        plan = reindex(store, index)
        (hits,) = index.search_vectors(NAMESPACE, np.stack([index.fetch(NAMESPACE, ["twin7"])["twin7"].values]), 1)
        assert hits[0].episode_id != "twin7", "else this test says nothing"
        assert_settled(store, index, [*FIRST, *twins], plan.snapshot_id)
