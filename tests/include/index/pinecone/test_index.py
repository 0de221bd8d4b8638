"""Pinecone's backend on a stand-in: the contract, and what is of Pinecone only."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from include.errors import PermanentError, RetryLaterError
from include.index.contract import Filter, IndexMismatchError, NamespaceNotFoundError
from include.index.pinecone import index as index_module
from include.index.pinecone.credentials import Credentials
from include.index.pinecone.documents import schema
from include.index.pinecone.index import PineconeIndex
from tests.include.index.contract import DIMENSION, EpisodeIndexContract, axis, ids_of, random_vectors, records
from tests.include.index.pinecone.conftest import QUICK
from tests.standins.pinecone import Fault, PineconeStandIn, bare


class TestPineconeIndex(EpisodeIndexContract):
    """The same contract as the embedded backend's, through the official client."""

    odd_ids = ("o'neil", '"quoted"', "back\\slash", "per%cent_", "with space", "a;b--c&d=e+f/g?h#i", "x" * 512)

    @pytest.fixture
    def index(self, credentials: Credentials) -> PineconeIndex:
        return PineconeIndex("podsearch", credentials, patience=QUICK)


class TestLaggingPineconeIndex(TestPineconeIndex):
    """And where reads show a write only after a moment, and statistics nothing at all."""

    @pytest.fixture
    def standin(self) -> Iterator[PineconeStandIn]:
        with PineconeStandIn().serve() as served:
            served.lag, served.statistics_lag = 0.05, 1_000
            yield served


@pytest.fixture
def filled(index: PineconeIndex) -> PineconeIndex:
    index.create("ns", DIMENSION)
    index.upsert("ns", [records([f"e{number:04d}" for number in range(250)], random_vectors(250))])
    return index


def test_only_ids_that_pinecone_takes_are_sent(index: PineconeIndex, standin: PineconeStandIn) -> None:
    index.create("ns", DIMENSION)
    with pytest.raises(PermanentError, match="ASCII"):
        index.upsert("ns", [records(["a", "日本"], axis(0, 1))])
    assert standin.count("upsert") == 0


def test_another_process_finds_what_was_written(filled: PineconeIndex, credentials: Credentials) -> None:
    other = PineconeIndex("podsearch", credentials, patience=QUICK)
    assert (other.namespaces(), other.count("ns")) == (["ns"], 250)


@pytest.mark.parametrize("wanted", [None, {"language": "English"}])
def test_a_namespace_that_another_process_dropped_is_missed(
    filled: PineconeIndex, credentials: Credentials, wanted: Filter | None
) -> None:
    """Pinecone answers for it as for an empty one; search must not say that nothing was found."""
    assert filled.search_vectors("ns", axis(0), 1)[0]
    PineconeIndex("podsearch", credentials, patience=QUICK).drop("ns")
    with pytest.raises(NamespaceNotFoundError, match="PODSEARCH_PINECONE_INDEX"):
        filled.search_vectors("ns", axis(0), 1, wanted)


def test_counts_do_not_rest_on_stale_statistics(index: PineconeIndex, standin: PineconeStandIn) -> None:
    standin.statistics_lag = 1_000
    index.create("ns", DIMENSION)
    index.upsert("ns", [records("abc", axis(0, 1, 2))])
    index.delete("ns", ["a"])
    assert standin.namespace("podsearch-8-words", "ns").count() == 0
    assert index.count("ns") == 2


def test_what_never_shows_is_warned_of(
    credentials: Credentials, standin: PineconeStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """The wait has a limit; verification then finds what is missing."""
    from dataclasses import replace

    index = PineconeIndex("podsearch", credentials, patience=replace(QUICK, settled=0.05))
    standin.lag = 1_000
    index.create("ns", DIMENSION)
    assert index.upsert("ns", [records("a", axis(0))]) == 1
    assert "does not show what was written to ns" in caplog.text
    assert index.count("ns") == 0


def test_many_ids_are_listed_at_once(filled: PineconeIndex, standin: PineconeStandIn) -> None:
    standin.requests.clear()
    standin.latency, standin.at_once = 0.01, 0
    assert sorted(filled.list_ids("ns")) == [f"e{number:04d}" for number in range(250)]
    assert 1 < standin.at_once <= index_module.READS_AT_ONCE


def test_many_queries_are_asked_at_once(filled: PineconeIndex, standin: PineconeStandIn) -> None:
    standin.latency, standin.at_once = 0.05, 0
    queries = random_vectors(100, seed=1)
    answers = filled.search_vectors("ns", queries, 3)
    assert len(answers) == 100
    assert index_module.QUERIES_AT_ONCE / 2 < standin.at_once <= index_module.QUERIES_AT_ONCE
    held = filled.fetch("ns", list(filled.list_ids("ns")))
    names = list(held)
    best = np.argmax(np.stack([held[name].values for name in names]) @ queries.T, axis=0)
    assert [hits[0].episode_id for hits in answers] == [names[row] for row in best]


def test_search_goes_on_while_pinecone_is_busy(filled: PineconeIndex, standin: PineconeStandIn) -> None:
    standin.faults += [
        Fault("search", status=429, times=3, headers={"Retry-After": "0"}),
        Fault("search", status=503),
        Fault("search", hang_up=True),
    ]
    assert all(filled.search_vectors("ns", random_vectors(8), 3))


def test_search_that_fails_ends_at_once(filled: PineconeIndex, standin: PineconeStandIn) -> None:
    """One answer that says that nothing will help is enough: the rest is not asked."""
    standin.faults.append(Fault("search", status=403, times=10_000, message="quota"))
    standin.requests.clear()
    with pytest.raises(PermanentError, match="quota"):
        filled.search_vectors("ns", random_vectors(2_000), 3)
    assert standin.count("search") < 1_000


@pytest.mark.parametrize("what", ["list_ids", "fetch", "delete", "search", "list_namespaces"])
def test_every_request_is_tried_again(filled: PineconeIndex, standin: PineconeStandIn, what: str) -> None:
    """Also when the answer was lost, and what was asked for is done."""
    standin.faults += [
        Fault(what, hang_up=True, done=True),
        Fault(what, status=500, done=True),
        Fault(what, status=503),
    ]
    assert len(filled.fetch("ns", ["e0001", "nobody"])) == 1
    filled.delete("ns", ["e0001"])
    assert filled.count("ns") == 249
    assert len(filled.search_vectors("ns", axis(0), 5)[0]) == 5
    assert filled.namespaces() == ["ns"]
    assert standin.faults == []


def test_creating_and_dropping_survive_lost_answers(index: PineconeIndex, standin: PineconeStandIn) -> None:
    """A second attempt finds that the first was done; that is no failure."""
    standin.faults += [Fault(what, hang_up=True, done=True) for what in ("create_index", "create_namespace")]
    index.create("ns", DIMENSION)
    index.upsert("ns", [records("a", axis(0))])
    standin.faults.append(Fault("delete_namespace", hang_up=True, done=True))
    index.drop("ns")
    assert (index.namespaces(), standin.faults) == ([], [])


def test_two_that_create_at_once_both_succeed(credentials: Credentials, standin: PineconeStandIn) -> None:
    standin.latency = 0.02
    failures: list[Exception] = []

    def create() -> None:
        try:
            PineconeIndex("podsearch", credentials, patience=QUICK).create("ns", DIMENSION)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failures, list(standin.indexes)) == ([], ["podsearch-8-words"])


def test_a_time_limit_ends_a_request(filled: PineconeIndex, standin: PineconeStandIn, credentials: Credentials) -> None:
    from dataclasses import replace

    hasty = PineconeIndex("podsearch", credentials, patience=replace(QUICK, request=0.2, attempts=1))
    standin.faults.append(Fault("search", stall=10, times=10))
    with pytest.raises(RetryLaterError, match=r"searching ns: .*timed out"):
        hasty.search_vectors("ns", axis(0), 1)


def test_the_key_is_in_no_message_and_no_log(standin: PineconeStandIn, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = Credentials("pcsk_not_the_key", host=standin.host)
    assert "pcsk" not in repr(wrong)
    standin.faults.append(Fault("list_indexes", status=500, message=f"bad {wrong.api_key}", times=8))
    index = PineconeIndex("podsearch", wrong, patience=QUICK)
    with pytest.raises(PermanentError, match="refuses the API key") as refused:
        index.namespaces()
    assert "bad ***" in caplog.text
    shown = [caplog.text, str(refused.value), repr(refused.value), repr(refused.value.__context__), repr(vars(index))]
    assert not any("pcsk_not_the_key" in text for text in shown)


@pytest.mark.parametrize("key", ["", "  ", "a b\nc", "schlüssel"])
def test_a_key_that_is_none_is_said(standin: PineconeStandIn, key: str) -> None:
    with pytest.raises(PermanentError, match="key"):
        PineconeIndex("podsearch", Credentials(key, host=standin.host), patience=QUICK)
    assert standin.requests == []


def test_other_indexes_of_the_project_are_left_alone(index: PineconeIndex, standin: PineconeStandIn) -> None:
    for name in ("podsearch", "podsearch-test-8", "other-8", "podsearch-8x", "podsearch-8-word", "other-8-words"):
        standin.add_index(name, bare(3, "euclidean"))
    index.create("ns", DIMENSION)
    assert (index.namespaces(), set(standin.indexes["other-8"].namespaces)) == (["ns"], set())


@pytest.mark.parametrize(("dimension", "metric"), [(DIMENSION + 1, "cosine"), (DIMENSION, "dotproduct")])
def test_an_index_of_another_shape_is_refused_before_anything_is_written(
    index: PineconeIndex, standin: PineconeStandIn, dimension: int, metric: str
) -> None:
    fields = schema(dimension)["fields"]
    fields["vector"]["metric"] = metric
    standin.add_index("podsearch-8-words", fields)
    with pytest.raises(IndexMismatchError, match=rf"8 dimensions and the metric cosine, but has {dimension} and"):
        index.create("ns", DIMENSION)
    assert set(standin.requests) <= {"list_indexes", "describe_index"}


def test_an_index_that_searches_no_words_is_refused_by_their_name(
    index: PineconeIndex, standin: PineconeStandIn
) -> None:
    standin.add_index("podsearch-8-words", bare(DIMENSION))
    with pytest.raises(IndexMismatchError, match="must have the fields description, vector, words, too"):
        index.create("ns", DIMENSION)


def test_hits_of_a_namespace_are_of_its_model_only(index: PineconeIndex) -> None:
    for namespace in ("m1", "m2"):
        index.create(namespace, DIMENSION)
        index.upsert(
            namespace, [records([f"{namespace}-{name}" for name in "ab"], axis(0, 1), model_version=namespace)]
        )
    assert ids_of(index.search_vectors("m1", axis(0), 5)[0]) == ["m1-a", "m1-b"]
