"""The connection of type Pinecone, and tasks that work on an index of the stand-in's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from airflow.sdk._shared.secrets_masker import redact
from pydantic import SecretStr

from include.errors import PermanentError
from include.index.lancedb import LanceIndex
from include.index.live import LivePointer
from include.index.opening import open_index as open_outside
from include.settings import get_settings
from include.settings.groups import Index
from operators.pinecone import PineconeHook, open_index
from tests.include.index.contract import DIMENSION, axis, ids_of, records
from tests.operators.conftest import Installation
from tests.standins.pinecone import PineconeStandIn

VARIABLE = "AIRFLOW_CONN_PINECONE_DEFAULT"


@pytest.fixture
def pinecone(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[PineconeStandIn]:
    """A stand-in that the default connection points to; the settings have Pinecone as the index, and no key."""
    with PineconeStandIn().serve() as standin:
        monkeypatch.setenv("PODSEARCH_INDEX", "pinecone")
        monkeypatch.setenv(
            VARIABLE, json.dumps({"conn_type": "pinecone", "password": f" {standin.key}\n", "host": standin.host})
        )
        get_settings.cache_clear()
        yield standin


def test_the_connection_opens_the_index(pinecone: PineconeStandIn) -> None:
    index = open_index(get_settings())
    assert (index.backend, index.name) == ("pinecone", "podsearch")
    index.create("ns", DIMENSION)
    index.upsert("ns", [records("ab", axis(0, 1))])
    assert ids_of(index.search_vectors("ns", axis(1), 1)[0]) == ["b"]
    assert np.allclose(index.fetch("ns", ["a"])["a"].values, axis(0)[0])


def test_without_pinecone_the_index_is_the_embedded_one(installation: Installation) -> None:
    assert isinstance(open_index(get_settings()), LanceIndex)


def test_a_new_index_is_made_where_the_connection_says(
    pinecone: PineconeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "pinecone", "password": pinecone.key, "host": pinecone.host}
    monkeypatch.setenv(VARIABLE, json.dumps(connection | {"extra": {"cloud": "gcp", "region": "europe-west4"}}))
    open_index(get_settings()).create("ns", DIMENSION)
    assert pinecone.indexes["podsearch-8-words"].deployment["region"] == "europe-west4"


def test_without_a_connection_the_settings_have_the_key(
    pinecone: PineconeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One variable is enough, for tasks and for search outside of Airflow."""
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("PODSEARCH_PINECONE_API_KEY", pinecone.key)
    monkeypatch.setenv("PODSEARCH_PINECONE_HOST", pinecone.host)
    get_settings.cache_clear()
    open_index(get_settings()).create("ns", DIMENSION)
    assert pinecone.indexes["podsearch-8-words"].deployment["region"] == "us-east-1"
    assert open_outside(get_settings()).namespaces() == ["ns"]
    assert pinecone.key not in repr(get_settings())


def test_the_connection_goes_before_the_settings(pinecone: PineconeStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSEARCH_PINECONE_API_KEY", "pcsk_another")
    monkeypatch.setenv("PODSEARCH_PINECONE_HOST", "https://nowhere.example")
    get_settings.cache_clear()
    assert open_index(get_settings()).namespaces() == []


def test_without_any_key_it_is_said_where_to_put_one(
    pinecone: PineconeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({"conn_type": "pinecone", "host": pinecone.host}))
    with pytest.raises(PermanentError, match=r"pinecone_default nor PODSEARCH_PINECONE_API_KEY .*app\.pinecone\.io"):
        open_index(get_settings())
    with pytest.raises(PermanentError, match="PODSEARCH_PINECONE_API_KEY"):
        open_outside(get_settings())


def test_testing_the_connection_asks_once(pinecone: PineconeStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PineconeHook().test_connection() == (True, "podsearch has 0 namespaces.")
    monkeypatch.setenv(VARIABLE, json.dumps({"conn_type": "pinecone", "password": "wrong", "host": pinecone.host}))
    ok, said = PineconeHook().test_connection()
    assert not ok
    assert "refuses the API key" in said
    assert "wrong" not in said


@pytest.mark.parametrize("of_the_settings", [False, True])
def test_the_key_is_masked_wherever_airflow_shows_something(
    pinecone: PineconeStandIn, monkeypatch: pytest.MonkeyPatch, of_the_settings: bool
) -> None:
    key = pinecone.key
    if of_the_settings:
        key = "pcsk_of_the_settings"
        monkeypatch.delenv(VARIABLE)
        monkeypatch.setenv("PODSEARCH_PINECONE_API_KEY", key)
        get_settings.cache_clear()
    PineconeHook().get_credentials()
    assert redact(f"The key is {key}.") == "The key is ***."


def live(backend: str, index: str) -> LivePointer:
    return LivePointer(
        backend=backend,
        index=index,
        namespace="m",
        model_version="m",
        snapshot_id="s",
        activated_at=datetime.now(UTC),
    )


def test_search_asks_the_backend_that_is_live(pinecone: PineconeStandIn) -> None:
    """The setting may name another one already, before the first re-index has filled it."""
    embedded = live("lancedb", "elsewhere")
    assert isinstance(open_outside(get_settings(), live=embedded), LanceIndex)
    settings = replace(get_settings(), index=Index(pinecone_api_key=SecretStr("key")))
    assert open_outside(settings, live=live("pinecone", "before")).name == "before", "so may its name"


def test_tasks_open_what_is_live_too(pinecone: PineconeStandIn) -> None:
    settings = get_settings()
    moved = open_index(settings, live=live("pinecone", "before"))
    moved.create("ns", DIMENSION)
    assert (moved.name, list(pinecone.indexes)) == ("before", ["before-8-words"])
    assert isinstance(open_index(settings, live=live("lancedb", "elsewhere")), LanceIndex)


def test_what_is_live_in_pinecone_has_the_connections_key_whatever_the_settings_name(
    pinecone: PineconeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODSEARCH_INDEX", "lancedb")
    get_settings.cache_clear()
    assert open_index(get_settings(), live=live("pinecone", "podsearch")).namespaces() == []
    monkeypatch.delenv(VARIABLE)
    assert isinstance(open_index(get_settings()), LanceIndex), "which needs none"
    with pytest.raises(PermanentError, match="PODSEARCH_PINECONE_API_KEY"):
        open_index(get_settings(), live=live("pinecone", "podsearch"))
