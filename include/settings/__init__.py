"""The only reader of environment variables: every setting of podsearch, validated together.

Set any of them in the environment or in ``.env``; ``PODSEARCH_PROFILE`` chooses the defaults of a few
(:data:`include.settings.base.PROFILES`). Each package gets its own group; :mod:`include.settings.groups` has them all.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from include.home import PROJECT as PROJECT
from include.settings.base import PREFIX, DotEnv, Group, variables
from include.settings.base import SAMPLE_DIR as SAMPLE_DIR
from include.settings.base import SettingsError as SettingsError
from include.settings.groups import (
    SERVICE_ADDRESS,
    Airflow,
    Alerts,
    Devices,
    Episodes,
    Evaluation,
    Housekeeping,
    Index,
    Installation,
    Quality,
    Queries,
    Search,
    Training,
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, read once per process by :func:`get_settings`."""

    installation: Installation = field(default_factory=Installation)
    devices: Devices = field(default_factory=Devices)
    episodes: Episodes = field(default_factory=Episodes)
    quality: Quality = field(default_factory=Quality)
    queries: Queries = field(default_factory=Queries)
    training: Training = field(default_factory=Training)
    index: Index = field(default_factory=Index)
    search: Search = field(default_factory=Search)
    evaluation: Evaluation = field(default_factory=Evaluation)
    housekeeping: Housekeeping = field(default_factory=Housekeeping)
    alerts: Alerts = field(default_factory=Alerts)
    airflow: Airflow = field(default_factory=Airflow)

    @property
    def index_root(self) -> str:
        """Where the embedded index lies."""
        return self.index.location or f"{self.installation.artifacts_root.rstrip('/')}/index"

    @property
    def index_name(self) -> str:
        """What the live pointer calls the index."""
        return self.index.pinecone_index if self.index.backend == "pinecone" else self.index_root

    @property
    def curated_queries_path(self) -> Path | None:
        """The curated queries that belong to the catalogue, if there are any."""
        if self.evaluation.curated_queries:
            return self.evaluation.curated_queries
        episodes = self.episodes
        beside = episodes.required_dataset_dir / "curated_queries.csv" if episodes.source == "directory" else None
        return beside if beside and beside.is_file() else None


GROUPS: dict[str, type[Group]] = {each.name: each.default_factory for each in fields(Settings)}  # type: ignore[misc]
TESTS = {"PODSEARCH_TEST_DATASETS"}
"""Our variables that are only for the tests."""
KNOWN = {name for group in GROUPS.values() for name in variables(group)} | TESTS
_SERVICE = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process.

    :raises SettingsError: one line per mistake, naming the variable.
    """
    if unknown := _unknown():
        raise SettingsError("\n".join(unknown))
    read, mistakes = {}, []
    for name, group in GROUPS.items():
        try:
            read[name] = group()
        except ValidationError as error:
            mistakes += _mistakes(group, error)
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return Settings(**read)  # type: ignore[arg-type]


def _mistakes(group: type[Group], error: ValidationError) -> list[str]:
    """A line for each mistake in a group, without values: one may be a secret."""
    names = dict(zip(group.model_fields, variables(group), strict=True))
    return [
        (f"{names.get(str(item['loc'][0]), item['loc'][0])}: " if item["loc"] else "")
        + item["msg"].removeprefix("Value error, ")
        for item in error.errors()
    ]


def _unknown() -> list[str]:
    """A line for each of our variables, set in the environment or in .env, that nothing reads."""
    values = {**DotEnv.values(), **os.environ}
    ours = {name for name in values if name.upper().startswith(PREFIX) and not _of_service(name, values[name])}
    lines = []
    for name in sorted(name for name in ours if name.upper() not in KNOWN):
        nearest = difflib.get_close_matches(name.upper(), sorted(KNOWN), n=1, cutoff=0)
        lines.append(f"{name}: there is no such setting; the closest match is {nearest[0]}. Correct it or remove it.")
    return lines


def _of_service(name: str, value: str | None) -> bool:
    """Whether Kubernetes set a variable, as it does in every pod next to a Service whose name begins with podsearch."""
    return bool(_SERVICE.fullmatch(name)) or (name.endswith("_PORT") and bool(SERVICE_ADDRESS.match(value or "")))
