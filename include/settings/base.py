"""Groups of settings, and where their values come from."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from include.errors import PermanentError
from include.home import PROJECT

PREFIX = "PODSEARCH_"
SAMPLE_DIR = PROJECT / "include" / "sample"

PROFILES: dict[str, dict[str, dict[str, Any]]] = {
    "local": {
        "episodes": {"source": "directory", "dataset_dir": SAMPLE_DIR},
        "training": {
            "base_model": "all-MiniLM-L6-v2",
            "recipe": PROJECT / "include" / "retriever" / "recipes" / "local.toml",
        },
        "devices": {"device": "auto"},
    },
    "production": {
        "episodes": {"source": "kaggle"},
        "queries": {"generator": "doc2query"},
        "training": {"base_model": "distiluse-base-multilingual-cased-v2"},
        "devices": {"device": "cuda"},
        "index": {"backend": "pinecone"},
    },
}
"""What each profile sets in each group; every other source takes precedence."""


class SettingsError(PermanentError, ValueError):
    """The settings do not fit together; the message says what to set."""


class DotEnv:
    """Where ``.env`` is."""

    file: Path = PROJECT / ".env"

    @classmethod
    def values(cls) -> dict[str, str | None]:
        """What it sets.

        :raises SettingsError: it is not UTF-8, or has a line that sets nothing; values, which may be secrets, are not
            in the message.
        """
        if not cls.file.is_file():
            return {}
        try:
            text = cls.file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise SettingsError(f"{cls.file} is not UTF-8: save it as UTF-8.") from None
        except OSError as error:
            raise SettingsError(f"{cls.file} cannot be read ({error.strerror}).") from None
        for line in parse_stream(io.StringIO(text)):
            ours = (line.key or "").upper().startswith(PREFIX)
            if line.error or (ours and line.value is None):
                raise SettingsError(f"{cls.file}, line {line.original.line}: write NAME=value, or remove it.")
        return dotenv_values(stream=io.StringIO(text))


class Group(BaseSettings):
    """The settings of one package, read on creation: ``PODSEARCH_<FIELD>``, or the name that a field gives.

    The environment overrides ``.env``, and both override the profile. An empty variable counts as not set.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the chosen profile behind every other source."""
        dotenv = DotEnvSettingsSource(settings_cls, env_file=DotEnv.file)
        defaults = PROFILES.get(profile(), {}).get(cls.__name__.lower(), {})
        return (init_settings, env_settings, dotenv, InitSettingsSource(settings_cls, defaults))


def profile() -> str:
    """The name of the chosen profile as written; it may not exist."""
    written = {
        name.upper(): value for values in (DotEnv.values(), os.environ) for name, value in values.items() if value
    }
    return written.get(f"{PREFIX}PROFILE", "local")


def variables(group: type[Group]) -> dict[str, FieldInfo]:
    """The fields of a group by the names of the variables that set them."""
    prefix = group.model_config["env_prefix"]
    return {str(info.validation_alias or f"{prefix}{name.upper()}"): info for name, info in group.model_fields.items()}


def local_url(host: str, port: int) -> str:
    """The address by which this machine reaches its own server; loopback if that listens on all addresses."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
