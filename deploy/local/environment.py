"""The environment of every Airflow process on one machine, and the secrets it needs."""

from __future__ import annotations

import json
import os
import secrets
import socket
from pathlib import Path

from cryptography.fernet import Fernet

from include.errors import PermanentError
from include.settings import PROJECT, Settings

PARALLELISM = 4
"""Tasks at once: enough to keep two cores busy, and few enough for a laptop's memory."""


class PortInUseError(PermanentError):
    """Another program listens where Airflow should."""


def airflow_home(settings: Settings) -> Path:
    return settings.home / "airflow"


def base_url(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.port}"


def passwords_file(settings: Settings) -> Path:
    """Where Airflow keeps the generated password of the user ``admin``."""
    return airflow_home(settings) / "passwords.json"


def airflow_environment(settings: Settings) -> dict[str, str]:
    """All that Airflow's processes need; podsearch's own settings are handed on as they are."""
    home = airflow_home(settings)
    home.mkdir(parents=True, exist_ok=True)
    keys = _secrets(home / "secrets.json")
    defaults = {
        # Telemetry and progress bars have no place in a task's log, nor a tokenizer's threads beside torch's.
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "MALLOC_ARENA_MAX": "2",
        "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
    }
    fixed = {
        "AIRFLOW_HOME": str(home),
        "PYTHONPATH": str(PROJECT),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{base_url(settings)}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": keys["fernet_key"],
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(settings)),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__API__HOST": settings.host,
        "AIRFLOW__API__PORT": str(settings.port),
        "AIRFLOW__API__BASE_URL": base_url(settings),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": keys["api_secret_key"],
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt_secret"],
        # Parse a changed DAG file soon, an unchanged one seldom.
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        # The retriever is idle most of the time: look for work often, so that short runs are short.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
    }
    return {**defaults, **os.environ, **fixed}


def require_free_port(settings: Settings) -> None:
    """Hold that Airflow can listen on its port.

    :raises PortInUseError: it cannot; the message says what to set.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise PortInUseError(
                f"Port {settings.port} on {settings.host} cannot be used ({error.strerror}). "
                "Stop what uses it, or choose another with PODSEARCH_PORT, e.g. PODSEARCH_PORT=8090 make run."
            ) from error


def _secrets(file: Path) -> dict[str, str]:
    """Keys that all processes must share, made once, readable by their owner alone."""
    if not file.exists():
        keys = {
            "fernet_key": Fernet.generate_key().decode(),
            "api_secret_key": secrets.token_urlsafe(32),
            "jwt_secret": secrets.token_urlsafe(48),
        }
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            json.dump(keys, stream)
    loaded: dict[str, str] = json.loads(file.read_text())
    return loaded
