"""Every setting, one group a room, each described where it stands.

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
"""How an address begins that Kubernetes has put into a variable, beside a Service of the same name."""


def _split(value: Any) -> Any:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


def _place(value: str) -> str:
    return str(absolute(value)) if value and "://" not in value else value


def _port(default: int) -> BeforeValidator:
    return BeforeValidator(lambda value: default if SERVICE_ADDRESS.match(str(value)) else value)


File = Annotated[Path, BeforeValidator(lambda value: absolute(value) if value else None)]
"""A file or folder; a relative path starts at the project's folder, so that it means the same in every process."""
Place = Annotated[str, AfterValidator(_place)]
"""A folder, likewise, or a URL."""
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A list as people write it: separated by commas."""


class Installation(Group):
    """Where things are."""

    profile: Literal["local", "production"] = "local"
    """A set of defaults: `local` needs nothing; `production` needs a GPU, a dataset and a base model it can load."""
    home: Annotated[File, AfterValidator(checked)] = DEFAULT
    """Folder of everything that is generated on this machine: virtual environment, Airflow, artifacts."""
    artifacts: Place = ""
    """Snapshots, models, embeddings, reports: a folder, or a URL such as s3://bucket/podsearch (default: `artifacts` in
    the home)."""

    @property
    def artifacts_root(self) -> str:
        return self.artifacts or str(self.home / "artifacts")

    @property
    def work_root(self) -> Path:
        """Where unfinished work waits for a retry, on this machine."""
        return self.home / "work"


class Devices(Group):
    """What models compute on."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`cuda` fails at once without a GPU; `auto` takes one if there is one."""
    threads: int = Field(default=0, ge=0, le=1_024)
    """Threads of a task for model work, and processes for cleaning episodes (0: one for each core that it may use)."""
    training_gpus: int = Field(default=1, ge=1, le=64)
    """GPUs that fine-tuning takes; the batch is divided among them."""
    gpu_pod: File | None = None
    """On Kubernetes: a YAML file that describes the pods of tasks with GPUs, as far as they are unlike the template."""


class Episodes(Group):
    """Where episodes come from."""

    source: Literal["directory", "kaggle", "feeds"] = "directory"
    """A folder, Kaggle, or podcast feeds."""
    dataset_dir: File | None = None
    """directory: a folder with podcasts.csv and episodes.csv, plain or zipped (the local profile has a sample)."""
    kaggle_dataset: str = Field(
        default="listennotes/all-podcast-episodes-published-in-december-2017",
        pattern=r"^[A-Za-z0-9_-]{1,80}/[A-Za-z0-9_-]{1,80}$",
    )
    """kaggle: the dataset, as owner/name."""
    kaggle_version: int | None = Field(default=None, ge=1, le=1_000_000)
    """kaggle: the version of it that is ingested (default: the latest)."""
    kaggle_connection: str = "kaggle_default"
    """kaggle: id of the Airflow connection with the credentials."""
    feeds: File | None = None
    """feeds: the list of podcast feeds, OPML or text with one address a line. Each show has the episodes seen since its
    feed was first polled; one whose feed is taken off the list leaves with them."""
    feeds_contact: str = Field(default="", max_length=200, pattern=r"^[!-~]*$")
    """feeds: a web or mail address at which whoever runs the feeds' servers can reach you; it is sent with each
    request."""
    feeds_allow_private: bool = False
    """feeds: also ask addresses of private networks and of this machine."""
    shards: int = Field(default=4, ge=1, le=1024)
    """Into how many parts episodes are divided; tasks are mapped over them."""
    max_file_bytes: int = Field(default=20 * 2**30, ge=1, le=2**44)
    """A dataset file that unpacks to more is refused (zip bombs)."""

    @model_validator(mode="after")
    def _has_a_source(self) -> Episodes:
        if self.source == "directory" and self.dataset_dir is None:
            raise SettingsError(
                "No episodes to read: set PODSEARCH_DATASET_DIR to a folder with podcasts.csv and episodes.csv."
            )
        if self.source == "feeds" and self.feeds is None:
            raise SettingsError(
                "No feeds to read: set PODSEARCH_FEEDS to an OPML file, or to a text file with one feed address a line."
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
    """When a run stops before it publishes."""

    max_quarantined_share: float = Field(default=0.35, ge=0, le=1)
    """Share of rows in quarantine above which a run stops."""
    max_shrink: float = Field(default=0.2, ge=0, le=1)
    """Largest loss of episodes against the last snapshot, and against what is usual, before a run stops."""


class Queries(Group):
    """What writes training queries."""

    generator: Literal["extractive", "doc2query"] = Field(
        default="extractive", validation_alias="PODSEARCH_QUERY_GENERATOR"
    )
    """The episodes' own words (needs no model), or a T5 model."""
    generator_model: str = "doc2query/all-t5-base-v1"
    """doc2query: hub id or local path of the T5; `id@commit` takes a commit of it (default: the newest that has
    safetensors). Set HF_TOKEN for a model that needs one."""
    generator_english_only: bool = True
    """doc2query: it knows no other language; what it writes for episodes in others is dropped."""
    generator_multilingual_model: str = ""
    """doc2query: the T5 that writes for the episodes in other languages, such as doc2query/msmarco-14langs-mt5-base-v1
    (default: none does)."""
    generator_engine: Literal["auto", "torch", "ctranslate2"] = "auto"
    """doc2query: what runs it; `auto` takes the faster one for the device."""
    search_logs: File | None = None
    """What people searched and then played, to be trained on too: a CSV of `query,episode_id,weight,source`."""


class Training(Group):
    """How a retriever is trained, and when."""

    base_model: str = ""
    """Packaged model, hub id or local path of the model that fine-tuning starts from."""
    recipe: File | None = None
    """TOML file with the recipe: which queries, how they are split, hyper-parameters (docs/configuration.md; default:
    the article's recipe)."""
    retrain_after_days: int = Field(default=30, ge=0, le=36_500)
    """A model older than this is trained anew when episodes arrive."""
    keep_models: int = Field(default=5, ge=1, le=10_000)
    """Trained models kept beside those that are, or were just, live."""


class Index(Group):
    """Where episodes are indexed."""

    backend: Literal["lancedb", "pinecone"] = Field(default="lancedb", validation_alias="PODSEARCH_INDEX")
    """Embedded (LanceDB), or Pinecone serverless."""
    location: Place = Field(default="", validation_alias="PODSEARCH_INDEX_LOCATION")
    """lancedb: where it lies, a folder or a URL (default: `index` in the artifacts)."""
    pinecone_index: str = Field(default="podsearch", pattern=r"^[a-z0-9]([a-z0-9-]{0,31}[a-z0-9])?$")
    """pinecone: its indexes are named after this, one for each dimension: podsearch-384-words."""
    pinecone_api_key: SecretStr = SecretStr("")
    """pinecone: the key, for tasks and for what is not Airflow (`make search`, `make serve`)."""
    pinecone_connection: str = "pinecone_default"
    """pinecone: id of the Airflow connection that tasks prefer to that; it may also say where new indexes are made."""
    pinecone_host: str = Field(default="https://api.pinecone.io", pattern=r"^https?://[^/@\s]+/?$")
    """pinecone: its control plane."""
    encoder_precision: Literal["float32", "float16", "int8"] = "float32"
    """With how many bits episodes and queries are encoded: 16 are for GPUs, 8 for CPUs. Another precision is another
    model version: it is measured, passes the gate and gets a namespace like one."""
    keep_namespaces: int = Field(default=2, ge=1, le=1_000)
    """Namespaces kept for rollback, the live one included."""
    max_deleted_share: float = Field(default=0.1, ge=0, le=1)
    """Part of the live index that a re-index may delete without asking a person first."""


class Search(Group):
    """How searches are answered, and where."""

    model_config = SettingsConfigDict(env_prefix="PODSEARCH_SEARCH_")

    hybrid_weight: float = Field(default=0.4, ge=0, le=1, validation_alias="PODSEARCH_HYBRID_WEIGHT")
    """Share of meaning (vectors) in what search answers, beside words that fit well; words that fit badly have less
    say. 1: meaning alone."""
    results_per_show: int = Field(default=0, ge=0, le=100, validation_alias="PODSEARCH_RESULTS_PER_SHOW")
    """Results of one show in an answer, at most, unless one show is asked for (0: any number)."""
    host: str = "127.0.0.1"
    """Where the search page and its API are reached, by Airflow's pages, too. Beyond this machine (such as 0.0.0.0)
    they need a token."""
    port: Annotated[int, _port(8090)] = Field(default=8090, ge=1, le=65535)
    """The port of both."""
    token_file: File | None = None
    """The file with the token, of at least 16 characters, that whoever searches must have (default: nobody needs
    one)."""
    record_days: int = Field(default=0, ge=0, le=3_660, validation_alias="PODSEARCH_RECORD_SEARCHES_DAYS")
    """For so many days it is kept what was searched, shown, opened and played, without names and addresses; training
    learns from it (0: nothing is recorded, and what was is removed)."""

    @property
    def reached_at(self) -> str:
        """Where search answers: on this machine, or on the one that ``host`` names."""
        return local_url(self.host, self.port)


class Housekeeping(Group):
    """For how many days something is kept that nothing needs any more."""

    keep_work_days: int = Field(default=30, ge=1, le=36_500)
    """What runs leave behind: snapshots, to which ingest_episodes can go back; downloads, evaluations, plans, trainings
    without a model, unfinished work."""
    keep_report_days: int = Field(default=365, ge=1, le=36_500)
    """What people read: reports, Data Docs, what was live when."""
    keep_log_days: int = Field(default=60, ge=1, le=36_500)
    """Airflow's logs of tasks on this machine, and its records of runs."""


class Evaluation(Group):
    """When a new model goes live."""

    curated_queries: File | None = None
    """CSV of `query,episode_ids,grades` (default: curated_queries.csv in the dataset's folder, if there is one)."""
    gate_tolerance: float = Field(default=0.05, ge=0, le=1)
    """How much Recall@30 and MRR@30 a new model may lose before it is refused."""
    gate_rule: Literal["lenient", "strict"] = "lenient"
    """What becomes of a model that is not shown to lose, by queries too few to be sure: it goes live (`lenient`), or a
    person is asked (`strict`)."""


class Alerts(Group):
    """Who is told when something is wrong."""

    critical: Names = Field(default=(), validation_alias="PODSEARCH_ALERTS_CRITICAL")
    """Airflow connections (types Apprise and SMTP) that are told when the pipeline has stopped; ids, separated by
    commas. Whoever was told of a fault is told when it is over."""
    warning: Names = Field(default=(), validation_alias="PODSEARCH_ALERTS_WARNING")
    """The same for what a person should look at while the pipeline goes on."""
    emails: Names = Field(default=(), validation_alias="PODSEARCH_ALERT_EMAILS")
    """Addresses that mail goes to when an SMTP connection is told."""
    ingest_deadline_hours: float = Field(default=6, gt=0, le=8_784)
    """A run of ingest_episodes that has not ended by then is reported."""
    freshness_days: float | None = Field(default=None, gt=0, le=3_660)
    """A published snapshot older than this is reported (default: never, for some sources seldom change)."""
    index_lag_hours: float = Field(default=24, gt=0, le=8_784)
    """A published snapshot that search has not got so long after is reported."""


class Airflow(Group):
    """Airflow on one machine."""

    host: str = "127.0.0.1"
    """Where its pages are reached."""
    port: Annotated[int, _port(8080)] = Field(default=8080, ge=1, le=65535)
    """Their port."""
    base_url: str = Field(default="", max_length=300, pattern=r"^(https?://[^/@?#\s]+/?)?$")
    """What links to its pages begin with, such as those in alerts, if they are followed from other machines:
    http://airflow.example.org:8080 (default: as this machine reaches them)."""
    retry_seconds: int = Field(default=30, ge=0, le=86_400)
    """How long a failed task waits before it is tried again."""
