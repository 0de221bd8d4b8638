# ruff: noqa: E501 (lines to copy must not be wrapped)
"""The pages about settings: ``.env.example`` and ``docs/configuration.md``, generated from their descriptions.

``python -m deploy.configuration`` regenerates both.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from include.home import PROJECT
from include.retriever.recipe import Recipe
from include.settings import GROUPS
from include.settings.base import PROFILES, Group, variables

WIDTH = 120
CONNECTIONS = {
    "episodes": """
Create the Kaggle connection in Airflow (Admin, Connections, type Kaggle) or set it here, with an API token, or with a
user name and a key, from https://www.kaggle.com/settings:
AIRFLOW_CONN_KAGGLE_DEFAULT='{"conn_type": "kaggle", "password": "<API token>"}'
AIRFLOW_CONN_KAGGLE_DEFAULT='{"conn_type": "kaggle", "login": "<user name>", "password": "<key>"}'
""",
    "index": """
Create the Pinecone API key at https://app.pinecone.io. The connection can also set where new indexes are created:
AIRFLOW_CONN_PINECONE_DEFAULT='{"conn_type": "pinecone", "password": "<API key>", "extra": {"cloud": "aws", "region": "us-east-1"}}'
""",
    "alerts": """
Create the connections in Airflow (Admin, Connections; types Apprise and SMTP) or set them here. Apprise supports Slack,
Teams, PagerDuty, webhooks and more: https://appriseit.com/services/
AIRFLOW_CONN_ALERTS_PAGER='{"conn_type": "apprise", "extra": {"config": [{"path": "pagerduty://<integration key>@<API key>"}]}}'
AIRFLOW_CONN_ALERTS_MAIL='{"conn_type": "smtp", "host": "smtp.example.org", "port": 465, "login": "<user>", "password": "<password>", "extra": {"from_email": "podsearch@example.org"}}'
""",
}
"""Airflow connections that belong to a group: the lines that begin with AIRFLOW_CONN are for copying."""
CONTAINERS = """
Only for docker-compose.yaml. `make secrets` writes the first two and all secrets; docs/production.md describes each.
COMPOSE_PROJECT_NAME=podsearch
COMPOSE_PROFILES=cpu
GPU_SLOTS=1
WORKER_SLOTS=4
WORKER_CPUS=4
WORKER_MEMORY=8g
GPU_WORKER_CPUS=8
GPU_WORKER_MEMORY=32g
AIRFLOW_BIND=127.0.0.1
AIRFLOW_PORT=8080
AIRFLOW_DOMAIN=localhost
SEARCH_DOMAIN=search.localhost
AIRFLOW_COOKIE_SECURE=False
TLS_CERTIFICATES=
AIRFLOW_LOGS=s3://podsearch/logs
AWS_ENDPOINT_URL=http://store:8333
AWS_DEFAULT_REGION=us-east-1
IMAGE_NAME=podsearch
"""


def env_example() -> str:
    """The file to copy to ``.env``: every setting with its default, commented out."""
    lines = [
        "# Copy to .env and set what you need; environment variables override .env. The values shown are the defaults.",
        "# A PODSEARCH_ variable that is not listed here is an error; the message names the closest match.",
    ]
    for name, group in GROUPS.items():
        lines += ["", _rule(str(inspect.getdoc(group)))]
        for variable, field, info in _settings(group):
            lines += _commented(_described(name, field, info))
            lines.append(f"# {variable}={_shown(name, field, info)}")
        lines += _extra(CONNECTIONS.get(name, ""))
    lines += ["", _rule("Containers."), *_extra(CONTAINERS)]
    return "\n".join(lines) + "\n"


def configuration() -> str:
    """The page of settings and of recipe entries."""
    parts = [
        "# Settings\n\nSet any of these in the environment or in `.env` (a copy of `.env.example`); environment variables "
        "override\n`.env`. An unknown `PODSEARCH_` variable is an error, and the message names the closest match. This "
        "page is generated\nfrom `include/settings/groups.py` and `include/retriever/recipe.py` by `python -m "
        "deploy.configuration`.\n"
    ]
    for name, group in GROUPS.items():
        rows = [
            (f"`{variable}`", _code(_shown(name, field, info)), _cell(_described(name, field, info)))
            for variable, field, info in _settings(group)
        ]
        parts.append(
            f"## {inspect.getdoc(group)}".rstrip(".") + "\n\n" + _table(("setting", "default", "what it does"), rows)
        )
    said = docstrings(Recipe)
    recipe = [
        (f"`{name}`", _code(_text(info.default)), _cell(said.get(name, "")))
        for name, info in Recipe.model_fields.items()
    ]
    parts.append(
        "## The training recipe\n\nThese are the entries of the TOML file that `PODSEARCH_RECIPE` names. An entry that is left "
        "out is the article's. When the\nrecipe changes, the next run trains a new model. The local profile uses "
        "[local.toml](../include/retriever/recipes/local.toml).\n\n"
        + _table(("entry", "default", "what it does"), recipe)
    )
    return "\n".join(parts)


def docstrings(model: type[BaseModel]) -> dict[str, str]:
    """What is written below each field of a model.

    Pydantic could tell, too, but would read all sources again in every process that reads the settings.
    """
    (definition,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in itertools.pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


FILES = {PROJECT / ".env.example": env_example, PROJECT / "docs" / "configuration.md": configuration}


def _settings(group: type[Group]) -> list[tuple[str, str, FieldInfo]]:
    """Variable, field and its description, of each setting of a group."""
    names = variables(group)
    return [(variable, field, info) for field, (variable, info) in zip(group.model_fields, names.items(), strict=True)]


def _described(group: str, field: str, info: FieldInfo) -> str:
    """A setting's description, its possible values, and each profile's default if it differs."""
    said = " ".join(docstrings(GROUPS[group]).get(field, "").split())
    choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    others = [
        f"{profile}: {_text(groups[group][field])}"
        for profile, groups in PROFILES.items()
        if profile != "local" and field in groups.get(group, {})
    ]
    remarks = ([", ".join(choices)] if choices else []) + others
    return f"{said} [{'; '.join(remarks)}]" if remarks else said


def _shown(group: str, field: str, info: FieldInfo) -> str:
    """The default of the local profile, as written in ``.env``."""
    if (group, field) in _FOLDERS:
        return _FOLDERS[group, field]
    return _text(PROFILES["local"].get(group, {}).get(field, info.default))


_FOLDERS = {
    ("installation", "home"): ".podsearch",
    ("installation", "artifacts"): "<PODSEARCH_HOME>/artifacts",
    ("index", "location"): "<PODSEARCH_ARTIFACTS>/index",
}
"""Defaults that follow from others."""


def _text(value: Any) -> str:
    match value:
        case None | SecretStr():
            return ""
        case bool():
            return str(value).lower()
        case Path():
            return str(value.relative_to(PROJECT) if value.is_relative_to(PROJECT) else value)
        case tuple() | list():
            return ",".join(map(str, value))
    return str(value)


def _rule(title: str) -> str:
    return f"# -- {title.rstrip('.')} ".ljust(WIDTH - 1, "-")


def _commented(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _extra(text: str) -> list[str]:
    return [f"# {line}" for line in text.strip().splitlines()]


def _code(value: str) -> str:
    return f"`{value}`" if value else ""


def _cell(text: str) -> str:
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|")


def _table(head: tuple[str, ...], rows: list[tuple[str, str, str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines) + "\n"


if __name__ == "__main__":
    for path, text in FILES.items():
        path.write_text(text(), encoding="utf-8")
        print(f"Wrote {path}")
