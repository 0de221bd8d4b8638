"""Connection types reach Airflow's pages by a small package that set-up installs."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest
from airflow.providers_manager import ProvidersManager

from deploy.provider.podsearch_airflow_provider import get_provider_info
from operators.kaggle import KaggleHook

INFO = get_provider_info()


@pytest.fixture(scope="module")
def manager() -> Any:
    return ProvidersManager()  # type: ignore[no-untyped-call]


def test_the_installed_package_is_the_one_of_this_tree() -> None:
    """Otherwise Airflow's pages show an older form: run ``make`` again."""
    entry = importlib.metadata.entry_points(group="apache_airflow_provider", module="podsearch_airflow_provider")
    assert [one.load()() for one in entry] == [INFO]


@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks")  # for tasks; Airflow's pages ask this one
def test_airflow_knows_the_type_and_its_hook(manager: Any) -> None:
    hook = manager.hooks["kaggle"]
    assert hook is not None
    assert (hook.hook_name, hook.hook_class_name) == ("Kaggle", f"{KaggleHook.__module__}.KaggleHook")
    assert hook.connection_id_attribute_name == KaggleHook.conn_name_attr
    assert hook.connection_testable


def test_the_form_asks_for_a_token_or_a_user_name_and_a_key_and_nothing_else(manager: Any) -> None:
    behaviour = manager.field_behaviours["kaggle"]
    assert behaviour["relabeling"] == {"login": "User name", "password": "API token or key"}
    assert set(behaviour["hidden_fields"]) == {"host", "port", "schema", "extra"}
    assert "leave it empty with an API token" in behaviour["placeholders"]["login"]
