from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.local.environment import (
    COMPONENT,
    PRELOADED,
    PortInUseError,
    airflow_environment,
    airflow_home,
    base_url,
    require_free_port,
)
from include.errors import PermanentError
from include.settings import PROJECT, Settings
from include.settings.base import DotEnv
from include.settings.groups import Airflow, Installation
from tests.standins.airflow_api import AirflowStandIn


def at(home: Path, **values: Any) -> Settings:
    """The settings of an installation whose Airflow has some values."""
    return Settings(installation=Installation(home=home), airflow=Airflow(**values))


@pytest.fixture
def plain(tmp_path: Path) -> Settings:
    return at(tmp_path / "home", port=8099)


def test_secrets_are_their_owners_alone_and_stay_as_they_are(plain: Settings) -> None:
    first = airflow_environment(plain)
    file = airflow_home(plain.installation.home) / "secrets.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    second = airflow_environment(plain)
    keys = ["AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET"]
    assert [first[key] for key in keys] == [second[key] for key in keys]
    assert len({first[key] for key in keys}) == 3
    assert sorted(file.parent.iterdir()) == [file], "nothing half-written is left beside it"


def test_what_airflow_writes_can_be_read_by_nobody_else(plain: Settings) -> None:
    """It puts the password of its admin into files that are open to all."""
    airflow_environment(plain)
    assert stat.S_IMODE(airflow_home(plain.installation.home).stat().st_mode) == 0o700


def test_two_installations_share_no_secret(tmp_path: Path) -> None:
    one, other = (airflow_environment(at(tmp_path / name)) for name in ("one", "other"))
    assert one["AIRFLOW__CORE__FERNET_KEY"] != other["AIRFLOW__CORE__FERNET_KEY"]


def test_every_path_is_in_the_home_or_in_the_project(plain: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where a person has another Airflow set up in the shell."""
    for name in ("AIRFLOW_HOME", "AIRFLOW_CONFIG", "PYTHONPATH", "AIRFLOW__CORE__DAGS_FOLDER"):
        monkeypatch.setenv(name, "/somewhere/else")
    for name in ("AIRFLOW__LOGGING__BASE_LOG_FOLDER", "AIRFLOW__CORE__PLUGINS_FOLDER"):
        monkeypatch.setenv(name, "/somewhere/else")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql:///somewhere/else")
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", '[{"name": "/somewhere/else"}]')
    environment = airflow_environment(plain)
    assert not [name for name, value in environment.items() if "/somewhere/else" in value]
    paths = {name: value for name, value in environment.items() if name.startswith("AIRFLOW") and value.startswith("/")}
    assert "AIRFLOW_HOME" in paths
    for name, path in paths.items():
        assert Path(path).is_relative_to(plain.installation.home) or Path(path).is_relative_to(PROJECT), name


def test_airflow_agrees_with_the_environment(plain: Settings) -> None:
    """Names of settings change between its versions, and it takes no notice of those it does not know."""
    asked = {
        ("database", "sql_alchemy_conn"): f"sqlite:///{airflow_home(plain.installation.home)}/airflow.db",
        ("api", "port"): "8099",
        ("api", "host"): plain.airflow.host,
        ("core", "executor"): "LocalExecutor",
        ("core", "execution_api_server_url"): "http://127.0.0.1:8099/execution/",
        ("core", "dags_folder"): str(PROJECT / "dags"),
        ("core", "load_examples"): "False",
        ("logging", "base_log_folder"): str(airflow_home(plain.installation.home) / "logs"),
        ("core", "simple_auth_manager_passwords_file"): str(airflow_home(plain.installation.home) / "passwords.json"),
        ("dag_processor", "refresh_interval"): "30",
        ("core", "mp_forkserver_preload"): ",".join((COMPONENT, *PRELOADED)),
    }
    code = (
        "import json, sys; from airflow import configuration\n"
        "conf = configuration.conf\n"
        "known = configuration.retrieve_configuration_description(include_providers=False)\n"
        "asked = json.loads(sys.argv[1])\n"
        "print(json.dumps([[conf.get(*key), key[1] in known[key[0]]['options']] for key in asked]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, json.dumps(list(asked))],
        env=airflow_environment(plain),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(answer.stdout.splitlines()[-1]) == [[value, True] for value in asked.values()]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a task gets a Python of its own")
def test_the_scheduler_forks_tasks_from_a_process_that_has_imported_what_is_heavy(plain: Settings) -> None:
    code = (
        "import importlib.util, sys; from airflow.utils.process_utils import resolve_mp_start_method\n"
        "assert all(importlib.util.find_spec(name) for name in sys.argv[1:])\n"
        "print(resolve_mp_start_method('scheduler'), resolve_mp_start_method('triggerer'))"
    )
    command = [sys.executable, "-c", code, COMPONENT, *PRELOADED]
    answer = subprocess.run(command, env=airflow_environment(plain), capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "forkserver None"


def test_a_person_may_set_what_does_not_hold_airflow_together(plain: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert airflow_environment(plain)["AIRFLOW__CORE__PARALLELISM"] == "4"
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "16")
    monkeypatch.setenv("AIRFLOW_CONN_STORE", "s3://bucket")
    environment = airflow_environment(plain)
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "16"
    assert environment["AIRFLOW_CONN_STORE"] == "s3://bucket"


def test_connections_in_dotenv_reach_airflow_and_the_environment_goes_before(
    plain: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "PODSEARCH_SHARDS=2\nOTHER=1\n"
        """AIRFLOW_CONN_KAGGLE_DEFAULT='{"conn_type": "kaggle", "password": "a#b$c"}'\n"""
        "AIRFLOW_CONN_OTHER=kaggle://:old@\nAIRFLOW_CONN_EMPTY=\n"
    )
    monkeypatch.setattr(DotEnv, "file", file)
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "kaggle://:new@")
    environment = airflow_environment(plain)
    assert json.loads(environment["AIRFLOW_CONN_KAGGLE_DEFAULT"]) == {"conn_type": "kaggle", "password": "a#b$c"}
    assert environment["AIRFLOW_CONN_OTHER"] == "kaggle://:new@"
    assert not {"OTHER", "PODSEARCH_SHARDS", "AIRFLOW_CONN_EMPTY"} & set(environment), "nothing else comes from there"


def test_settings_of_podsearch_are_handed_on(plain: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSEARCH_SHARDS", "7")
    assert airflow_environment(plain)["PODSEARCH_SHARDS"] == "7"


def test_tasks_reach_the_api_server_where_there_is_a_proxy(
    settings: Settings, airflow_standin: AirflowStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    environment = airflow_environment(settings)
    code = f"import httpx; print(httpx.get('{base_url(settings)}/api/v2/monitor/health').status_code)"
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert answer.stdout.strip() == "200", answer.stderr
    assert environment["NO_PROXY"].split(",")[0] == "intranet.example"


def test_a_port_in_use_is_named_with_the_setting_that_changes_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(airflow=Airflow(port=taken.getsockname()[1]))
        with pytest.raises(PortInUseError, match=rf"Port {settings.airflow.port} on 127.0.0.1 .*PODSEARCH_PORT"):
            require_free_port(settings.airflow.host, settings.airflow.port, "PODSEARCH_PORT")
    require_free_port(settings.airflow.host, settings.airflow.port, "PODSEARCH_PORT")


def test_the_environment_of_this_process_stays_as_it_is(plain: Settings) -> None:
    before = dict(os.environ)
    airflow_environment(plain)
    assert dict(os.environ) == before


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:8099"), ("::", "http://[::1]:8099")])
def test_links_never_name_the_address_of_all_interfaces(tmp_path: Path, host: str, url: str) -> None:
    environment = airflow_environment(at(tmp_path / "home", port=8099, host=host))
    assert environment["AIRFLOW__API__HOST"] == host
    assert environment["AIRFLOW__API__BASE_URL"] == url
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == f"{url}/execution/"


@pytest.mark.parametrize("address", ["https://airflow.example.org", "https://airflow.example.org/"])
def test_links_may_be_followed_from_other_machines(tmp_path: Path, address: str) -> None:
    """The address of this machine says nothing elsewhere; what runs here goes on to use it."""
    environment = airflow_environment(at(tmp_path / "home", port=8099, host="0.0.0.0", base_url=address))
    assert environment["AIRFLOW__API__BASE_URL"] == "https://airflow.example.org"
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8099/execution/"


@pytest.mark.parametrize("address", ["airflow.example.org", "ftp://airflow", "https://user:key@airflow", "https://a/b"])
def test_links_need_an_address(tmp_path: Path, address: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        at(tmp_path / "home", base_url=address)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "\x00"])
def test_damaged_keys_are_named_and_not_made_anew(plain: Settings, content: str) -> None:
    """Without the old key, saved connections cannot be read."""
    airflow_environment(plain)
    file = airflow_home(plain.installation.home) / "secrets.json"
    file.write_text(content)
    with pytest.raises(PermanentError, match=rf"{file} is damaged: restore it, or remove it"):
        airflow_environment(plain)
    assert file.read_text() == content
