"""Every setting, one group per package, each described where it is defined.

The descriptions are what ``.env.example`` and ``docs/configuration.md`` say.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from include.home import DEFAULT, absolute, checked
from include.settings.base import Group, SettingsError, local_url

SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
"""How an address begins that Kubernetes put into a variable because a Service has that name."""


def _split(value: Any) -> Any:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


def _place(value: str) -> str:
    return str(absolute(value)) if value and "://" not in value else value


def _port(default: int) -> BeforeValidator:
    return BeforeValidator(lambda value: default if SERVICE_ADDRESS.match(str(value)) else value)


File = Annotated[Path, BeforeValidator(lambda value: absolute(value) if value else None)]
"""A file or folder; a relative path is relative to the project's folder, so that it means the same in every process."""
Place = Annotated[str, AfterValidator(_place)]
"""A folder, in the same way, or a URL."""
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A list as people write it: separated by commas."""


class Installation(Group):
    """Where things are."""

    profile: Literal["local", "production"] = "local"
    """The set of defaults: `local` needs nothing; `production` needs a GPU, a dataset and a base model it can load."""
    home: Annotated[File, AfterValidator(checked)] = DEFAULT
    """Folder for everything generated on this machine: virtual environment, Airflow, artifacts."""
    artifacts: Place = ""
    """Where snapshots, models, embeddings and reports go: a folder, or a URL such as s3://bucket/podsearch (default:
    `artifacts` under the home)."""

    @property
    def artifacts_root(self) -> str:
        return self.artifacts or str(self.home / "artifacts")

    @property
    def work_root(self) -> Path:
        """Where unfinished work waits for a retry, on this machine."""
        return self.home / "work"


class Devices(Group):
    """What models run on."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` uses a GPU if there is one; `cuda` fails at once without one."""
    threads: int = Field(default=0, ge=0, le=1_024)
    """Threads per task for model work and for cleaning episodes (0: one per core that it may use)."""
    training_gpus: int = Field(default=1, ge=1, le=64)
    """Number of GPUs for fine-tuning; each batch is split among them."""
    gpu_pod: File | None = None
    """Kubernetes: a YAML file that describes how the pods of GPU tasks differ from the template."""


class Episodes(Group):
    """Where episodes come from."""

    source: Literal["directory", "kaggle", "feeds"] = "directory"
    """A folder, a Kaggle dataset, or podcast feeds."""
    dataset_dir: File | None = None
    """directory: a folder with podcasts.csv and episodes.csv, plain or zipped (the local profile uses a bundled
    sample)."""
    kaggle_dataset: str = Field(
        default="listennotes/all-podcast-episodes-published-in-december-2017",
        pattern=r"^[A-Za-z0-9_-]{1,80}/[A-Za-z0-9_-]{1,80}(/versions/[1-9][0-9]{0,5})?$",
    )
    """kaggle: the dataset, as owner/name; its latest version is ingested, or that of owner/name/versions/3."""
    feeds: File | None = None
    """feeds: the list of podcast feeds, as OPML or as text with one address per line. A show has the episodes seen
    since its feed was first polled; when its feed is taken off the list, show and episodes are removed."""
    feeds_contact: str = Field(default="", max_length=200, pattern=r"^[!-~]*$")
    """feeds: a web or mail address where the operators of feed servers can reach you; it is sent with each request."""
    feeds_allow_private: bool = False
    """feeds: also poll addresses in private networks and on this machine."""
    shards: int = Field(default=4, ge=1, le=1024)
    """How many parts the episodes are split into; tasks are mapped over them."""
    max_file_bytes: int = Field(default=20 * 2**30, ge=1, le=2**44)
    """A dataset file that unpacks to more bytes than this is refused (protects against zip bombs)."""

    @model_validator(mode="after")
    def _has_a_source(self) -> Episodes:
        if self.source == "directory" and self.dataset_dir is None:
            raise SettingsError(
                "No episodes to read: set PODSEARCH_DATASET_DIR to a folder with podcasts.csv and episodes.csv."
            )
        if self.source == "feeds" and self.feeds is None:
            raise SettingsError(
                "No feeds to read: set PODSEARCH_FEEDS to an OPML file or a text file with one feed address per line."
            )
        return self

    @property
    def required_dataset_dir(self) -> Path:
        """The folder that episodes are read from when the source is a directory."""
        assert self.dataset_dir is not None  # held by _has_a_source
        return self.dataset_dir

    @property
    def required_feeds(self) -> Path:
        """The list of feeds when they are the source."""
        assert self.feeds is not None  # held by _has_a_source
        return self.feeds


class Quality(Group):
    """When a run stops before publishing."""

    max_quarantined_share: float = Field(default=0.35, ge=0, le=1)
    """A run stops if a larger share of rows is in quarantine."""
    max_shrink: float = Field(default=0.2, ge=0, le=1)
    """A run stops if it would lose a larger share of episodes, compared with the last snapshot and with what is
    usual."""


class Queries(Group):
    """What writes training queries."""

    generator: Literal["extractive", "doc2query"] = Field(
        default="extractive", validation_alias="PODSEARCH_QUERY_GENERATOR"
    )
    """`extractive` uses the episodes' own words and needs no model; `doc2query` uses a T5."""
    generator_model: str = "doc2query/all-t5-base-v1"
    """doc2query: hub id or local path of the T5; `id@commit` pins a commit (default: the newest one with safetensors).
    Set HF_TOKEN for a gated model."""
    generator_multilingual_model: str = ""
    """doc2query: the T5 that writes for the episodes in other languages, such as
    doc2query/msmarco-14langs-mt5-base-v1, or the same T5 if it is multilingual (default: none)."""
    generator_engine: Literal["auto", "torch", "ctranslate2"] = "auto"
    """doc2query: what runs the model; `auto` picks the faster engine for the device."""
    search_logs: File | None = None
    """What people searched and then played, as extra training data: a CSV of `query,episode_id,weight,source`."""


class Training(Group):
    """How and when a retriever is trained."""

    base_model: str = ""
    """The model that fine-tuning starts from: a bundled model, hub id or local path."""
    recipe: File | None = None
    """TOML file with the training recipe: which queries, how they are split, hyper-parameters (see
    docs/configuration.md; default: the article's recipe)."""
    retrain_after_days: int = Field(default=30, ge=0, le=36_500)
    """When new episodes arrive, a model older than this is retrained."""


class Index(Group):
    """Where episodes are indexed."""

    backend: Literal["lancedb", "pinecone"] = Field(default="lancedb", validation_alias="PODSEARCH_INDEX")
    """LanceDB (embedded), or Pinecone serverless."""
    location: Place = Field(default="", validation_alias="PODSEARCH_INDEX_LOCATION")
    """lancedb: where the index is, a folder or a URL (default: `index` under the artifacts)."""
    pinecone_index: str = Field(default="podsearch", pattern=r"^[a-z0-9]([a-z0-9-]{0,31}[a-z0-9])?$")
    """pinecone: prefix of the index names; there is one index per dimension, such as podsearch-384-words."""
    pinecone_api_key: SecretStr = SecretStr("")
    """pinecone: the API key, for tasks and for everything outside Airflow (`make search`, `make serve`). Tasks prefer
    the Airflow connection pinecone_default, which can also set where new indexes are created."""
    pinecone_host: str = Field(default="https://api.pinecone.io", pattern=r"^https?://[^/@\s]+/?$")
    """pinecone: address of the control plane."""
    encoder_precision: Literal["float32", "float16", "int8"] = "float32"
    """Precision in which episodes and queries are encoded: float16 is for GPUs, int8 for CPUs. A model in another
    precision is a version of its own: it is measured, must pass the gate and gets a namespace."""
    keep_namespaces: int = Field(default=2, ge=1, le=1_000)
    """Namespaces kept for rollback, including the live one."""
    max_deleted_share: float = Field(default=0.1, ge=0, le=1)
    """A re-index that would delete a larger share of the live index asks a person first."""


class Search(Group):
    """How searches are answered, and where."""

    model_config = SettingsConfigDict(env_prefix="PODSEARCH_SEARCH_")

    hybrid_weight: float = Field(default=0.4, ge=0, le=1, validation_alias="PODSEARCH_HYBRID_WEIGHT")
    """Weight of meaning (vectors) in search results against words that fit well; words that fit badly count less. 1:
    meaning alone."""
    results_per_show: int = Field(default=0, ge=0, le=100, validation_alias="PODSEARCH_RESULTS_PER_SHOW")
    """The most results of one show in an answer, unless a single show was asked for (0: no limit)."""
    reranker: str = Field(default="", validation_alias="PODSEARCH_RERANKER")
    """Local folder or hub id of a cross-encoder that re-ranks the first 50 results (default: none). It makes every
    search slower, and the gate does not see it."""
    host: str = "127.0.0.1"
    """Address of the search page and its API; Airflow's pages use it, too. An address that other machines can reach,
    such as 0.0.0.0, needs a token."""
    port: Annotated[int, _port(8090)] = Field(default=8090, ge=1, le=65535)
    """Port of the search page and its API."""
    token_file: File | None = None
    """The file with the token, of at least 16 characters, that every search must present (default: no token is
    needed)."""
    record_days: int = Field(default=0, ge=0, le=3_660, validation_alias="PODSEARCH_RECORD_SEARCHES_DAYS")
    """For how many days to keep what was searched, shown, opened and played, without names and addresses; training
    learns from it (0: nothing is recorded, and earlier records are removed)."""

    @property
    def reached_at(self) -> str:
        """Where search answers: on this machine, or on the one that ``host`` names."""
        return local_url(self.host, self.port)


class Housekeeping(Group):
    """How many days to keep what is no longer needed."""

    keep_work_days: int = Field(default=30, ge=1, le=36_500)
    """What runs leave behind: snapshots that ingest_episodes can go back to, downloads, evaluations, plans, trainings
    without a model, unfinished work."""
    keep_report_days: int = Field(default=365, ge=1, le=36_500)
    """What people read: reports, Data Docs, the history of what was live."""
    keep_log_days: int = Field(default=60, ge=1, le=36_500)
    """Airflow's task logs on this machine, and its records of runs."""


class Evaluation(Group):
    """When a new model goes live."""

    curated_queries: File | None = None
    """CSV of `query,episode_ids,grades` (default: curated_queries.csv in the dataset's folder, if it exists)."""
    gate_tolerance: float = Field(default=0.05, ge=0, le=1)
    """How much Recall@30 and MRR@30 a new model may lose before it is refused."""
    gate_rule: Literal["lenient", "strict"] = "lenient"
    """What happens to a model that is not shown to lose, when there are too few queries to be sure: it goes live
    (`lenient`), or a person is asked (`strict`)."""


class Alerts(Group):
    """Who is notified when something is wrong."""

    critical: Names = Field(default=(), validation_alias="PODSEARCH_ALERTS_CRITICAL")
    """Airflow connections (types Apprise and SMTP) to notify when the pipeline has stopped: ids, separated by commas.
    Whoever is notified of a fault is also notified when it is over."""
    warning: Names = Field(default=(), validation_alias="PODSEARCH_ALERTS_WARNING")
    """The same for warnings: something to look at while the pipeline goes on."""
    emails: Names = Field(default=(), validation_alias="PODSEARCH_ALERT_EMAILS")
    """Mail addresses that SMTP connections send to."""
    ingest_deadline_hours: float = Field(default=6, gt=0, le=8_784)
    """A run of ingest_episodes that takes longer than this is reported."""
    freshness_days: float | None = Field(default=None, gt=0, le=3_660)
    """A published snapshot older than this is reported (default: never, since some sources seldom change)."""
    index_lag_hours: float = Field(default=24, gt=0, le=8_784)
    """A published snapshot that is not in search after this long is reported."""


class Airflow(Group):
    """Airflow on one machine."""

    host: str = "127.0.0.1"
    """Address of Airflow's pages."""
    port: Annotated[int, _port(8080)] = Field(default=8080, ge=1, le=65535)
    """Port of Airflow's pages."""
    base_url: str = Field(default="", max_length=300, pattern=r"^(https?://[^/@?#\s]+/?)?$")
    """The start of links to Airflow's pages, in alerts for example, if they are opened from other machines, such as
    http://airflow.example.org:8080 (default: the address on this machine)."""
