"""The plugin as Airflow's web server has it: loaded from its file, mounted without protection, asking who is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from include.settings import PROJECT, get_settings
from include.storage import ArtifactStore
from plugins.podsearch_pages import PodsearchPages

PATHS = [
    "/podsearch/quality",
    "/podsearch/quality/trend",
    "/podsearch/live",
    "/podsearch/reports/r1/index.html",
]
SEARCH = "/podsearch/search/"


class User:
    """Whoever has the token, with the DAGs whose logs he may read."""

    def __init__(self, *dags: str) -> None:
        self.dags = dags


class AuthManager:
    """As much of Airflow's authentication as a plugin's pages meet."""

    users: ClassVar = {
        "reader": User("ingest_episodes", "reindex_episodes"),
        "half": User("ingest_episodes"),
        "nobody": User(),
    }

    async def get_user_from_token(self, token: str) -> User:
        return self.users[token]

    def is_authorized_dag(self, *, method: str, access_entity: Any, details: Any, user: User) -> bool:
        assert (method, access_entity.value) == ("GET", "TASK_LOGS")
        return details.id in user.dags


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("PODSEARCH_HOME", str(tmp_path))
    monkeypatch.setenv("PODSEARCH_SEARCH_PORT", "9")  # nobody listens there
    get_settings.cache_clear()
    ArtifactStore(get_settings().installation.artifacts_root).write_bytes(b"report", "reports", "r1", "index.html")
    monkeypatch.setattr("airflow.api_fastapi.core_api.security.get_auth_manager", AuthManager)
    monkeypatch.setattr("airflow.models.dag.DagModel.get_team_name", lambda dag_id: None)
    server = FastAPI()
    for app in PodsearchPages().fastapi_apps:
        server.mount(app["url_prefix"], app["app"])
    yield TestClient(server)
    get_settings.cache_clear()


@pytest.mark.parametrize("path", [*PATHS, SEARCH])
def test_a_stranger_is_sent_to_log_in(client: TestClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 401
    assert "Log in to Airflow" in answer.text


@pytest.mark.parametrize("path", PATHS)
def test_whoever_is_logged_in_to_airflow_may_read(client: TestClient, path: str) -> None:
    """By the cookie that Airflow's pages have, and by the token that its API takes."""
    assert client.get(path, headers={"Authorization": "Bearer reader"}).status_code == 200
    client.cookies.set("_token", "reader")
    assert client.get(path).status_code == 200


def test_a_role_that_may_not_read_the_logs_may_not_read_the_pages(client: TestClient) -> None:
    client.cookies.set("_token", "reader")
    assert client.get(SEARCH).status_code == 503, "there is no service"
    client.cookies.set("_token", "half")
    assert client.get(SEARCH).status_code == 403
    assert [client.get(path).status_code for path in PATHS] == [200, 200, 403, 403]
    client.cookies.set("_token", "nobody")
    assert [client.get(path).status_code for path in PATHS] == [403, 403, 403, 403]
    assert client.get("/podsearch/runs/reindex_episodes/r").status_code == 403


def test_the_navigation_leads_to_the_pages() -> None:
    plugin = PodsearchPages()

    (app,) = plugin.fastapi_apps
    view, _ = plugin.external_views
    assert view["name"] == "podsearch"
    assert view["href"] == app["url_prefix"] + "/live"
    assert not app["url_prefix"].startswith(("/api/v2", "/ui", "/execution", "/auth", "/pluginsv2"))


LOAD = """
import sys
import airflow.sdk.execution_time.task_runner
from airflow._shared.plugins_manager.plugins_manager import _load_plugins_from_plugin_directory
before = set(sys.modules)
plugins, errors = _load_plugins_from_plugin_directory(sys.argv[1])
assert not errors, errors
assert [plugin.name for plugin in plugins] == ["podsearch_pages"], plugins
heavy = {"fastapi", "pyarrow", "pandas", "great_expectations", "torch"} & (set(sys.modules) - before)
assert not heavy, heavy
"""


def test_airflow_loads_it_into_every_process_and_that_costs_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", LOAD, str(PROJECT / "plugins")], cwd=PROJECT, check=True)
