"""Connection types reach Airflow's pages by a small package that set-up installs."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest
from airflow.providers_manager import ProvidersManager

from deploy.provider.podsearch_airflow_provider import get_provider_info
from operators.kaggle import KaggleHook
from operators.pinecone import PineconeHook

INFO = get_provider_info()


@pytest.fixture(scope="module")
def manager() -> Any:
    return ProvidersManager()  # type: ignore[no-untyped-call]


def test_the_installed_package_is_the_one_of_this_tree() -> None:
    """Otherwise Airflow's pages show an older form: run ``make`` again."""
    entry = importlib.metadata.entry_points(group="apache_airflow_provider", module="podsearch_airflow_provider")
    assert [one.load()() for one in entry] == [INFO]


@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks")  # for tasks; Airflow's pages ask this one
@pytest.mark.parametrize("own", [KaggleHook, PineconeHook])
def test_airflow_knows_the_type_and_its_hook(manager: Any, own: type[KaggleHook | PineconeHook]) -> None:
    hook = manager.hooks[own.conn_type]
    assert hook is not None
    assert (hook.hook_name, hook.hook_class_name) == (own.hook_name, f"{own.__module__}.{own.__name__}")
    assert hook.connection_id_attribute_name == own.conn_name_attr
    assert hook.connection_testable


def test_the_form_asks_for_a_token_or_a_user_name_and_a_key_and_nothing_else(manager: Any) -> None:
    behaviour = manager.field_behaviours["kaggle"]
    assert behaviour["relabeling"] == {"login": "User name", "password": "API token or key"}
    assert set(behaviour["hidden_fields"]) == {"host", "port", "schema", "extra"}
    assert "leave it empty with an API token" in behaviour["placeholders"]["login"]


def test_the_form_of_pinecone_asks_for_a_key_and_where(manager: Any) -> None:
    behaviour = manager.field_behaviours["pinecone"]
    assert behaviour["relabeling"] == {"password": "API key", "host": "Control plane"}
    assert set(behaviour["hidden_fields"]) == {"login", "port", "schema"}
    assert "region" in behaviour["placeholders"]["extra"]
