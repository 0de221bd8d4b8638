from __future__ import annotations

import pytest

from include.errors import PermanentError, RetryLaterError
from include.index.pinecone.credentials import Credentials
from include.index.pinecone.documents import schema
from include.index.pinecone.index import PineconeIndex
from tests.include.index.contract import DIMENSION
from tests.include.index.pinecone.conftest import QUICK
from tests.standins.pinecone import Fault, PineconeStandIn


def test_an_index_is_made_where_the_credentials_say(standin: PineconeStandIn) -> None:
    credentials = Credentials(standin.key, host=standin.host, cloud="gcp", region="europe-west4")
    PineconeIndex("podsearch", credentials, patience=QUICK).create("ns", DIMENSION)
    made = standin.indexes["podsearch-8-words"]
    assert made.fields == schema(DIMENSION)["fields"]
    assert made.fields["vector"] == {"type": "dense_vector", "dimension": DIMENSION, "metric": "cosine"}
    assert made.deployment == {"deployment_type": "managed", "cloud": "gcp", "region": "europe-west4"}


def test_a_new_index_is_waited_for(index: PineconeIndex, standin: PineconeStandIn) -> None:
    standin.ready_after = 5
    index.create("ns", DIMENSION)
    assert standin.count("describe_index") >= 5
    assert index.namespaces() == ["ns"]


def test_but_not_for_ever(index: PineconeIndex, standin: PineconeStandIn) -> None:
    standin.ready_after = 10**9
    with pytest.raises(RetryLaterError, match="podsearch-8-words is not ready after 2 s"):
        index.create("ns", DIMENSION)


def test_an_index_that_is_made_already_is_used(index: PineconeIndex, standin: PineconeStandIn) -> None:
    index.create("first", DIMENSION)
    index.create("second", DIMENSION)
    assert standin.count("create_index") == 1


def test_a_model_of_another_dimension_gets_an_index_beside_it(index: PineconeIndex, standin: PineconeStandIn) -> None:
    index.create("small", DIMENSION)
    index.create("large", 2 * DIMENSION)
    assert sorted(standin.indexes) == ["podsearch-16-words", "podsearch-8-words"]
    assert index.namespaces() == ["large", "small"]
    index.drop("large")
    assert index.namespaces() == ["small"]


@pytest.mark.parametrize("status", [402, 403])
def test_what_the_plan_does_not_allow_is_said(index: PineconeIndex, standin: PineconeStandIn, status: int) -> None:
    standin.faults.append(Fault("create_index", status=status, message="too many indexes"))
    with pytest.raises(PermanentError, match=r"creating the index podsearch-8-words: .*too many indexes.*plan"):
        index.create("ns", DIMENSION)
    assert standin.count("create_index") == 1


def test_a_name_that_pinecone_does_not_take_is_said(credentials: Credentials) -> None:
    with pytest.raises(PermanentError, match="Pod_Search"):
        PineconeIndex("Pod_Search", credentials, patience=QUICK).create("ns", DIMENSION)
