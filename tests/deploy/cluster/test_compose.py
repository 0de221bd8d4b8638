"""docker-compose.yaml keeps its promises: no secret with a default, two open ports, limits and checks everywhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.cluster.secrets import MAKES, write
from deploy.local.environment import COMPONENT, PRELOADED
from include.settings import KNOWN, PROJECT
from operators.pools import Queue

TEXT = (PROJECT / "docker-compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ENGINES = {"postgres", "redis", "store"}
SECRETS = {name for name in MAKES if not name.startswith("COMPOSE_")}


def compose(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("docker-compose")
    if not tool:
        pytest.skip("there is no docker-compose")
    return subprocess.run(
        [tool, "--project-directory", str(folder), "--file", str(folder / "docker-compose.yaml"), *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docker-compose.yaml").write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("profiles", ["", "cpu", "gpu,tls", "cpu,gpu"])
def test_every_profile_passes(folder: Path, profiles: str) -> None:
    write(folder / ".env")
    done = compose(folder, "config", COMPOSE_PROFILES=profiles)
    assert done.returncode == 0, done.stderr
    expected = {
        name for name, one in SERVICES.items() if set(one.get("profiles", profiles.split(","))) & {*profiles.split(",")}
    }
    shown = compose(folder, "config", "--services", COMPOSE_PROFILES=profiles).stdout.split()
    assert expected <= set(shown)


def test_without_secrets_it_says_how_to_make_them(folder: Path) -> None:
    done = compose(folder, "config")
    assert done.returncode != 0
    assert "run make secrets" in done.stderr


def test_each_secret_is_required_wherever_it_stands() -> None:
    assert {name for name in re.findall(r"\$\{(\w+)", TEXT) if name in MAKES} == SECRETS
    for name in SECRETS:
        uses = re.findall(rf"\$\{{{name}\b[^}}]*\}}", TEXT)
        assert set(uses) == {f"${{{name}:?run make secrets}}"}, name


def test_tasks_are_given_no_secret_that_only_engines_need() -> None:
    assert "env_file" not in SERVICES["proxy"]
    for name in sorted(set(SERVICES) - ENGINES - {"init", "proxy"}):
        environment = SERVICES[name]["environment"]
        own = {"SEARCH_TOKEN"} if name in ("search", "api-server") else set()
        given = {key for key in SECRETS if environment.get(key) != ""}
        assert given == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} | own, name


def test_search_is_given_nothing_of_airflows_database_and_keys() -> None:
    """It is what people reach: whoever broke into it would have no way into what runs the pipeline."""
    environment = SERVICES["search"]["environment"]
    assert not [name for name in environment if name.startswith("AIRFLOW__")]
    assert not [name for name, value in environment.items() if "postgres" in str(value) or "redis" in str(value)]
    assert "PODSEARCH_ARTIFACTS" in environment


@pytest.mark.parametrize(
    ("name", "server"),
    [("search", "python -m include.search.http"), ("api-server", "airflow api-server --proxy-headers")],
)
def test_the_token_of_search_is_in_a_file_before_a_server_starts(tmp_path: Path, name: str, server: str) -> None:
    """The command as the container runs it, with `echo` in the place of the server."""
    *shell, script = SERVICES[name]["command"]
    script = script.replace("$$", "$").replace("/tmp/", f"{tmp_path}/")
    assert script.endswith(server)
    script = script.replace(server, "sh -c 'echo started with ${SEARCH_TOKEN:-nothing}'")
    done = subprocess.run(
        [*shell, script], env={"PATH": os.environ["PATH"], "SEARCH_TOKEN": "t%st"}, capture_output=True
    )
    assert done.stdout == b"started with nothing\n", done.stderr
    assert (tmp_path / "token").read_text() == "t%st"
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert SERVICES[name]["environment"]["PODSEARCH_SEARCH_TOKEN_FILE"] == "/tmp/token"


def test_without_tls_only_this_machine_reaches_the_api_server_and_search() -> None:
    assert {name: one["ports"] for name, one in SERVICES.items() if "ports" in one} == {
        "api-server": ["${AIRFLOW_BIND:-127.0.0.1}:${AIRFLOW_PORT:-8080}:8080"],
        "search": ["${SEARCH_BIND:-127.0.0.1}:${SEARCH_PORT:-8090}:8090"],
        "proxy": ["80:80", "443:443"],
    }
    assert SERVICES["proxy"]["profiles"] == ["tls"]


def test_only_the_store_may_write_into_its_container() -> None:
    """All others write to volumes and to memory: what of them is in their containers, nobody misses or can change."""
    assert {name for name, one in SERVICES.items() if not one.get("read_only")} == {"store"}
    assert not [name for name, one in SERVICES.items() if one.get("network_mode") or one.get("privileged")]
    assert COMPOSE["networks"]["engines"] == {"internal": True}
    assert {name for name, one in SERVICES.items() if one["networks"] == ["engines"]} == ENGINES


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_checked_and_limited(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert service["mem_limit"]
    assert service["cpus"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["restart"] == ("on-failure" if name == "init" else "unless-stopped")
    assert "no-new-privileges:true" in service["security_opt"]
    for volume in service["volumes"]:
        assert volume.split(":")[0] in COMPOSE["volumes"] or (PROJECT / volume.split(":")[0]).is_file()


def test_its_settings_exist() -> None:
    named = set(re.findall(r"PODSEARCH_\w+", TEXT))
    assert named
    assert named <= KNOWN


def test_tasks_of_gpus_have_a_worker_in_each_profile() -> None:
    for profile in ("cpu", "gpu"):
        queues = {
            one["command"][one["command"].index("--queues") + 1]
            for one in SERVICES.values()
            if "--queues" in one.get("command", []) and profile in one.get("profiles", [profile])
        }
        assert queues == {"default", Queue.GPU.value}


def test_workers_and_nobody_else_import_beforehand_what_takes_long() -> None:
    """Together what a local Airflow does, too; PyTorch, which takes the most memory, where there are models."""
    imports = {
        name: json.loads(one["environment"]["AIRFLOW__CELERY__EXTRA_CELERY_CONFIG"])["imports"]
        for name, one in SERVICES.items()
        if "AIRFLOW__CELERY__EXTRA_CELERY_CONFIG" in one.get("environment", {})
    }
    assert set(imports) == {"worker", "worker-cpu", "worker-gpu"}
    assert {modules[0] for modules in imports.values()} == {COMPONENT}
    own = set(PRELOADED) - {"airflow.executors.local_executor"}
    for worker in ("worker-cpu", "worker-gpu"):
        assert own <= {*imports["worker"], *imports[worker]}
    having = {name for name, modules in imports.items() if "sentence_transformers" in modules}
    assert having == {"worker-cpu", "worker-gpu"}


def test_a_long_task_is_not_handed_out_twice() -> None:
    environment = SERVICES["worker"]["environment"]
    assert environment["AIRFLOW__CELERY__TASK_ACKS_LATE"] == "False"
    assert int(environment["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"]) > 2 * 86_400
