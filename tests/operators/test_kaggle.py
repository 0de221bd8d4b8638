"""The connection of type Kaggle, and ingestion's tasks on a stand-in for Kaggle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk._shared.secrets_masker import redact

from include.episodes import snapshot
from include.errors import PermanentError
from include.settings import get_settings
from operators.episodes import CheckSourceOperator
from operators.kaggle import KaggleHook
from tests.operators.conftest import FakeContext, Installation, execute, ingest
from tests.standins.kaggle import LOOK_UP, Fault, KaggleStandIn

Skips = Callable[[Any, FakeContext], str]
VARIABLE = "AIRFLOW_CONN_KAGGLE_DEFAULT"


@pytest.fixture
def kaggle(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[KaggleStandIn]:
    """A stand-in with the installation's dataset, which the settings and the default connection point to."""
    standin = KaggleStandIn()
    standin.add_version(installation.dataset)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    monkeypatch.setenv("PODSEARCH_SOURCE", "kaggle")
    monkeypatch.setenv("PODSEARCH_KAGGLE_DATASET", standin.dataset)
    monkeypatch.setenv(VARIABLE, json.dumps({"conn_type": "kaggle", "password": standin.token}))
    get_settings.cache_clear()
    with standin.serve():
        yield standin


def check(context: FakeContext) -> str:
    return execute(CheckSourceOperator(task_id="check_source"), context)


class TestConnection:
    @pytest.mark.parametrize("form", ["token", "user", "address of a token", "address of a user"])
    def test_each_way_to_write_it_will_do(
        self, kaggle: KaggleStandIn, monkeypatch: pytest.MonkeyPatch, form: str
    ) -> None:
        forms = {
            "token": json.dumps({"conn_type": "kaggle", "password": f" {kaggle.token}\n"}),
            "user": json.dumps({"conn_type": "kaggle", "login": kaggle.username, "password": kaggle.key}),
            "address of a token": f"kaggle://:{kaggle.token}@",
            "address of a user": f"kaggle://{kaggle.username}:{kaggle.key}@",
        }
        monkeypatch.setenv(VARIABLE, forms[form])
        assert KaggleHook().test_connection() == (True, f"{kaggle.dataset} is at version 1.")

    def test_testing_it_says_what_is_wrong(self, kaggle: KaggleStandIn) -> None:
        kaggle.faults.append(Fault(LOOK_UP, status=401))
        ok, said = KaggleHook().test_connection()
        assert not ok
        assert "refuses the credentials" in said

    @pytest.mark.parametrize("value", ['{"conn_type": "kaggle"}', "KGAT_a_token_alone", "{not json"])
    def test_one_without_credentials_says_what_to_set(
        self, kaggle: KaggleStandIn, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        monkeypatch.setenv(VARIABLE, value)
        with pytest.raises(PermanentError, match=rf"kaggle\.com/settings.*{VARIABLE}") as raised:
            KaggleHook().get_conn()
        assert value not in str(raised.value)

    def test_one_that_is_not_there_says_what_to_make(
        self, kaggle: KaggleStandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv(VARIABLE)
        with pytest.raises(PermanentError, match="Airflow has no connection kaggle_default: create an API token at"):
            KaggleHook().get_conn()

    def test_its_password_is_masked_wherever_airflow_shows_something(self, kaggle: KaggleStandIn) -> None:
        KaggleHook().get_conn()
        assert redact(f"The key is {kaggle.token}.") == "The key is ***."


class TestIngestion:
    def test_a_version_is_ingested_once(
        self, kaggle: KaggleStandIn, installation: Installation, context: FakeContext, skips: Skips
    ) -> None:
        assert ingest(context)["episodes"] == 6
        kaggle.requests.clear()
        reason = skips(CheckSourceOperator(task_id="check_source"), context)
        assert kaggle.dataset in reason
        assert kaggle.requests == [LOOK_UP], "nothing is downloaded"

        installation.write_dataset(episodes=8)
        kaggle.add_version(installation.dataset)
        summary = ingest(context)
        assert (summary["episodes"], summary["added"]) == (8, 2)
        latest = snapshot.latest(installation.store)
        assert latest is not None
        assert latest.source_version == "listennotes.episodes.v2"

    def test_a_pinned_version_is_what_is_ingested(
        self,
        kaggle: KaggleStandIn,
        installation: Installation,
        context: FakeContext,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        installation.write_dataset(episodes=8)
        kaggle.add_version(installation.dataset)
        monkeypatch.setenv("PODSEARCH_KAGGLE_DATASET", f"{kaggle.dataset}/versions/1")
        get_settings.cache_clear()
        assert ingest(context)["episodes"] == 6

    def test_old_downloads_go_once_a_snapshot_is_published(
        self, kaggle: KaggleStandIn, installation: Installation, context: FakeContext
    ) -> None:
        for episodes in (7, 8, 9):
            installation.write_dataset(episodes=episodes)
            kaggle.add_version(installation.dataset)
            ingest(context)
        downloads = installation.store.names("downloads", "kaggle", *kaggle.dataset.split("/"))
        assert downloads == ["3", "4"]

    def test_what_cannot_be_tidied_does_not_undo_what_was_published(
        self,
        kaggle: KaggleStandIn,
        installation: Installation,
        context: FakeContext,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError("not now")

        monkeypatch.setattr("include.episodes.sources.kaggle.KaggleSource.published", refuse)
        summary = ingest(context)
        latest = snapshot.latest(installation.store)
        assert latest is not None
        assert latest.snapshot_id == summary["snapshot_id"]
