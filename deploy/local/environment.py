"""The environment of every Airflow process on one machine, and the secrets it needs.

What a person has set for Airflow goes before the defaults here, but not before what holds this Airflow together: where
its files are, who may log in, where it listens.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

from include.errors import PermanentError
from include.settings import PROJECT, Settings
from include.settings.base import DotEnv, local_url

PARALLELISM = 4
"""Tasks at once: enough to keep two cores busy, and few enough for a laptop's memory."""
DAG_BUNDLE = {"name": "dags-folder", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}}
"""The DAGs folder, as Airflow has it when nobody says otherwise."""

PRELOADED = (
    "airflow.executors.local_executor",
    "airflow.dag_processing.dagbag",
    "great_expectations",
    "sentence_transformers",
    "lance_namespace",
    "matplotlib.figure",
)
"""What the process that tasks are forked from has imported, so that a task does not import it for seconds before it
works. Of LanceDB only its models of requests, which are most of it: the rest warns of being forked. Not Polars, which
has started threads by then; and nothing of podsearch, whose files may change while Airflow runs, except:"""
COMPONENT = "deploy.component"
"""Runs the command ``airflow``; in the process that tasks are forked from it is imported before all else."""


DATABASE = "airflow.db"
"""The file of Airflow's metadata database, in its home."""


class PortInUseError(PermanentError):
    """Another program listens where Airflow or search should."""


def airflow_home(home: Path) -> Path:
    """Where Airflow's own files are, in podsearch's home."""
    return home / "airflow"


def logs_folder(settings: Settings) -> Path:
    """Where the logs of tasks are."""
    return airflow_home(settings.installation.home) / "logs"


def base_url(settings: Settings) -> str:
    """Where Airflow answers on this machine."""
    return local_url(settings.airflow.host, settings.airflow.port)


def links_url(settings: Settings) -> str:
    """What links to Airflow's pages begin with: who follows one may sit at another machine."""
    return settings.airflow.base_url.rstrip("/") or base_url(settings)


def passwords_file(settings: Settings) -> Path:
    """Where Airflow keeps the generated password of the user ``admin``."""
    return airflow_home(settings.installation.home) / "passwords.json"


def airflow_environment(settings: Settings) -> dict[str, str]:
    """All that Airflow's processes need; podsearch's own settings are handed on as they are."""
    home = airflow_home(settings.installation.home)
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)  # Airflow writes the password of its admin, readable by all, into a file and a log
    keys = _secrets(home / "secrets.json")
    unproxied = ",".join(
        filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), urlsplit(base_url(settings)).hostname])
    )
    defaults = {
        # Telemetry and progress bars have no place in a task's log, nor a tokenizer's threads beside torch's.
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "MALLOC_ARENA_MAX": "2",
        # Threads that wait for others sleep: with two model tasks, or a browser, beside each other, they would take the
        # cores from those they wait for.
        "OMP_WAIT_POLICY": "PASSIVE",
        "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "30",
        **_forking(),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
    }
    fixed = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(home / "airflow.cfg"),
        "PYTHONPATH": str(PROJECT),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([DAG_BUNDLE]),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(logs_folder(settings)),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{base_url(settings)}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": keys["fernet_key"],
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(settings)),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / DATABASE}",
        "AIRFLOW__API__HOST": settings.airflow.host,
        "AIRFLOW__API__PORT": str(settings.airflow.port),
        "AIRFLOW__API__BASE_URL": links_url(settings),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": keys["api_secret_key"],
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt_secret"],
        # Tasks speak to the API server of this machine, which no proxy can reach.
        "NO_PROXY": unproxied,
        "no_proxy": unproxied,
        # Parse a changed DAG file soon, an unchanged one seldom.
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
    }
    return {**defaults, **_connections(), **os.environ, **fixed}


def require_free_port(host: str, port: int, variable: str) -> None:
    """Hold that a server can listen on its port.

    :param variable: which sets the port.
    :raises PortInUseError: it cannot; the message says what to set.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUseError(
                f"Port {port} on {host} cannot be used ({error.strerror}). "
                f"Stop whatever is using it, or choose another with {variable}."
            ) from error


def _connections() -> dict[str, str]:
    """The Airflow connections that .env has, beside podsearch's settings."""
    return {name: value for name, value in DotEnv.values().items() if name.startswith("AIRFLOW_CONN_") and value}


def _forking() -> dict[str, str]:
    """How the scheduler gets its workers. Where Airflow starts a new Python for each task (macOS), as it is."""
    if sys.platform != "linux":
        return {}
    return {
        "AIRFLOW__SCHEDULER__MP_START_METHOD": "forkserver",
        "AIRFLOW__CORE__MP_FORKSERVER_PRELOAD": ",".join((COMPONENT, *PRELOADED)),
    }


def _secrets(file: Path) -> dict[str, str]:
    """Keys that all processes must share, made once, readable by their owner alone."""
    if not file.exists():
        keys = {
            "fernet_key": Fernet.generate_key().decode(),
            "api_secret_key": secrets.token_urlsafe(32),
            "jwt_secret": secrets.token_urlsafe(48),
        }
        handle, unfinished = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # its owner's alone
        with os.fdopen(handle, "w") as stream:
            json.dump(keys, stream)
        os.replace(unfinished, file)
    try:
        loaded: dict[str, str] = json.loads(file.read_text())
        return {name: str(loaded[name]) for name in ("fernet_key", "api_secret_key", "jwt_secret")}
    except (ValueError, KeyError, TypeError):
        raise PermanentError(
            f"{file} is damaged: restore it, or remove it. Without it new keys are created, and connections that were "
            "saved in Airflow's pages must be entered again."
        ) from None
