from __future__ import annotations

from collections.abc import Sequence

import pytest

from include.queries.contract import Passage, Query
from include.retriever.training.plan import TrainingPlan
from include.retriever.training.queries import generate_queries, queries_written, read_queries
from include.storage import ArtifactStore
from tests.include.retriever.training.workshop import generate_all, plan, publish_snapshot


class Clerk:
    """Writes a query an episode, some episodes at a time, and is killed in one of its calls."""

    name = "clerk"
    tokens = 0

    def __init__(self, chunk: int | None, *, killed_in: int | None = None) -> None:
        self.chunk = chunk
        self.killed_in = killed_in
        self.calls: list[list[str]] = []

    def generate(self, passages: Sequence[Passage], n: int, seed: int) -> list[list[Query]]:
        self.calls.append([passage.episode_id for passage in passages])
        if len(self.calls) == self.killed_in:
            raise KeyboardInterrupt
        return [[Query(f"where is {passage.title}", "clerk", passage.text())] for passage in passages]


def one_shard(store: ArtifactStore) -> TrainingPlan:
    """A plan whose first shard has some dozens of episodes."""
    publish_snapshot(store, episodes=200)
    return plan(store)


def test_every_sampled_episode_gets_its_queries(store: ArtifactStore) -> None:
    publish_snapshot(store)
    planned = plan(store)
    assert queries_written(store, planned, 0) is None
    written = generate_all(store, planned)
    assert 180 <= written <= 270
    read = list(read_queries(store, planned))
    assert len({passage.episode_id for passage, _ in read}) == len(read) == 90
    assert sum(len(own) for _, own in read) == written
    assert sum(queries_written(store, planned, n) or 0 for n in range(len(planned.query_shards))) == written


def test_a_retried_shard_ends_in_the_same_queries(store: ArtifactStore) -> None:
    publish_snapshot(store)
    planned = plan(store)
    generate_all(store, planned)
    first = list(read_queries(store, planned))
    store.remove("training", planned.training_id, "queries")
    generate_all(store, planned)
    assert list(read_queries(store, planned)) == first


def test_a_generator_that_compares_episodes_gets_all_of_a_shard(store: ArtifactStore) -> None:
    planned = one_shard(store)
    clerk = Clerk(None)
    count = generate_queries(store, planned, 0, clerk)
    assert [len(call) for call in clerk.calls] == [count]


def test_a_killed_task_loses_the_batch_it_was_at_and_no_other(store: ArtifactStore) -> None:
    planned = one_shard(store)
    killed, resumed, undisturbed = Clerk(4, killed_in=3), Clerk(4), Clerk(4)
    with pytest.raises(KeyboardInterrupt):
        generate_queries(store, planned, 0, killed)
    assert queries_written(store, planned, 0) is None
    count = generate_queries(store, planned, 0, resumed)
    assert resumed.calls[0] == killed.calls[2], "it goes on with the batch that was lost"
    assert not {key for call in resumed.calls for key in call} & {key for call in killed.calls[:2] for key in call}
    assert not store.exists("training", planned.training_id, "queries", "unfinished", planned.query_shards[0].name)

    target = ("training", planned.training_id, "queries", f"{planned.query_shards[0].name}.parquet")
    after_kill = store.read_table(*target)
    store.remove(*target)
    assert generate_queries(store, planned, 0, undisturbed) == count
    assert store.read_table(*target).equals(after_kill)


def test_a_retry_with_batches_of_another_size_ends_in_as_many_queries(store: ArtifactStore) -> None:
    """As on another worker, with another GPU."""
    planned = one_shard(store)
    with pytest.raises(KeyboardInterrupt):
        generate_queries(store, planned, 0, Clerk(4, killed_in=3))
    clerk = Clerk(7)
    assert generate_queries(store, planned, 0, clerk) == sum(map(len, clerk.calls))


def test_texts_of_like_length_are_handed_over_together(store: ArtifactStore) -> None:
    planned = one_shard(store)
    clerk = Clerk(4)
    generate_queries(store, planned, 0, clerk)
    store_of = {passage.episode_id: len(passage.text()) for passage, _ in _read_first(store, planned)}
    lengths = [store_of[key] for call in clerk.calls for key in call]
    assert lengths == sorted(lengths)


def _read_first(store: ArtifactStore, planned: TrainingPlan) -> list[tuple[Passage, list[Query]]]:
    first = planned.model_copy(update={"query_shards": planned.query_shards[:1]})
    return list(read_queries(store, first))
