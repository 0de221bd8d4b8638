"""The only reader of environment variables: every setting of podsearch, validated together.

Set any field as ``PODSEARCH_<FIELD>`` in the environment or in ``.env``. ``PODSEARCH_PROFILE`` chooses the defaults of
a few of them (:data:`PROFILES`); each can still be set on its own.
"""

from __future__ import annotations

import difflib
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from include.errors import PermanentError
from include.home import DEFAULT, absolute, checked
from include.home import PROJECT as PROJECT
from include.index.pinecone.credentials import CONTROL_PLANE
from include.retriever.recipe import Recipe

if TYPE_CHECKING:
    from include.queries.contract import GeneratorSpec

SAMPLE_DIR = PROJECT / "include" / "sample"

PROFILES: dict[str, dict[str, Any]] = {
    "local": {
        "source": "directory",
        "dataset_dir": SAMPLE_DIR,
        "base_model": "all-MiniLM-L6-v2",
        "learning_rate": 5e-5,  # a small catalogue has few steps: on the sample, better than the article's 2e-5
        "device": "auto",
    },
    "production": {
        "source": "kaggle",
        "query_generator": "doc2query",
        "max_training_episodes": 83_000,  # with three queries each 250,000: more gained nothing (GPL, arXiv 2112.07577)
        "base_model": "distiluse-base-multilingual-cased-v2",
        "device": "cuda",
        "index": "pinecone",
    },
}


PATHS = ("home", "dataset_dir", "feeds", "curated_queries", "search_logs", "search_token_file")
"""Settings that name a file or a folder of this machine."""


class SettingsError(PermanentError, ValueError):
    """The settings do not fit together; the message says what to set."""


class Settings(BaseSettings):
    """All settings, read once per process by :func:`get_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="PODSEARCH_", env_file=PROJECT / ".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    profile: Literal["local", "production"] = "local"
    """Which set of defaults to start from."""

    # Where things live
    home: Path = DEFAULT
    """Folder of everything that is generated on this machine."""
    artifacts: str = ""
    """Root of the artifact store: a folder or a URL such as s3://bucket/podsearch (default: <home>/artifacts)."""

    # Episodes
    source: Literal["directory", "kaggle", "feeds"] = "directory"
    """Where episodes come from."""
    dataset_dir: Path | None = None
    """The directory: podcasts.csv and episodes.csv, plain or zipped (default of the local profile: bundled sample)."""
    kaggle_dataset: str = Field(
        default="listennotes/all-podcast-episodes-published-in-december-2017",
        pattern=r"^[A-Za-z0-9_-]{1,80}/[A-Za-z0-9_-]{1,80}$",
    )
    """Kaggle's dataset, as owner/name."""
    kaggle_version: int | None = Field(default=None, ge=1, le=1_000_000)
    """The version of it that is ingested (default: the latest)."""
    kaggle_connection: str = "kaggle_default"
    """Id of the Airflow connection with the Kaggle credentials."""
    feeds: Path | None = None
    """The list of podcast feeds: OPML, or text with one address a line."""
    feeds_connections: int = Field(default=16, ge=1, le=256)
    """Feeds that are asked for at a time; of one host it is always one."""
    feeds_seconds: float = Field(default=30, gt=0, le=3_600)
    """A feed that takes longer, from first to last byte, is left for the next poll."""
    feeds_max_bytes: int = Field(default=20 * 2**20, ge=1, le=2**32)
    """A feed that has more bytes, unpacked, is refused."""
    feeds_contact: str = Field(default="", max_length=200, pattern=r"^[!-~]*$")
    """Web or mail address that the User-Agent names, so that whoever runs the feeds' servers can write to you."""
    feeds_allow_private: bool = False
    """Also ask addresses of private networks and of this machine."""
    shards: int = Field(default=4, ge=1, le=1024)
    """Into how many parts episodes are divided; tasks are mapped over them."""
    processes: int = Field(default=0, ge=0, le=256)
    """Processes that clean episodes (0: one for each core that may be used)."""
    max_file_bytes: int = Field(default=20 * 2**30, ge=1, le=2**44)
    """A dataset file that unpacks to more is refused (zip bombs)."""
    max_text_chars: int = Field(default=20_000, ge=100, le=1_000_000)
    """A description longer than this after cleaning is cut."""

    # Data quality
    max_quarantined_share: float = Field(default=0.35, ge=0, le=1)
    """Share of rows in quarantine above which a run stops before it publishes."""
    max_shrink: float = Field(default=0.2, ge=0, le=1)
    """Largest loss of episodes against the last snapshot, and against what is usual, before a run stops."""
    max_growth: float = Field(default=3.0, ge=1, le=1_000_000)
    """A catalogue that is more than so many times as large as the last snapshot is worth a warning."""
    max_language_loss: float = Field(default=0.5, ge=0, le=1)
    """Part of its usual share that a language may lose; more is a warning, and stops a run if it is a main language."""
    max_repeated_growth: float = Field(default=0.25, ge=0, le=1)
    """How much the share of episodes that repeat another's text may exceed what is usual before a run stops."""
    drift_window: int = Field(default=5, ge=1, le=100)
    """Published snapshots whose median is what is usual."""
    drift_share_tolerance: float = Field(default=0.07, ge=0, le=1)
    """How far a share (of a language, of repeated texts, ...) may be from what is usual before a warning."""
    drift_length_tolerance: float = Field(default=0.3, ge=0, le=100)
    """How far the length of descriptions may be from what is usual, as a part of it, before a warning."""
    drift_min_episodes: int = Field(default=100, ge=0, le=10**9)
    """A change that concerns fewer episodes is no drift: it keeps small catalogues from crying wolf."""

    # Training queries
    query_generator: Literal["extractive", "doc2query"] = "extractive"
    """What writes them: the episodes' own words, or a T5 model."""
    queries_per_episode: int = Field(default=3, ge=1, le=50)
    generator_model: str = "doc2query/all-t5-base-v1"
    """Hub id or local path of the T5 model of doc2query."""
    generator_revision: str | None = None
    """Its commit on the hub (default: the newest that has safetensors)."""
    generator_english_only: bool = True
    """It knows no other language: what it writes for episodes in others is dropped."""
    generator_multilingual_model: str = ""
    """Hub id or local path of a T5 that writes for the episodes in other languages (default: none does)."""
    generator_multilingual_revision: str | None = None
    generator_engine: Literal["auto", "torch", "ctranslate2"] = "auto"
    """What runs it; `auto` takes the faster one for the device."""
    generator_batch_size: int = Field(default=0, ge=0, le=2**16)
    """Episodes it works on at a time (0: what suits the device)."""
    query_shard_episodes: int = Field(default=2_000, ge=1, le=10**6)
    """Episodes that one task writes queries for: minutes of work on a GPU."""
    round_trip: int = Field(default=0, ge=0, le=10**6)
    """Train only on queries whose episode the base model finds among so many (0: on all)."""
    max_dropped_share: float = Field(default=0.8, gt=0, le=1)
    """Share of the written queries that the filter may drop before the training stops."""
    search_logs: Path | None = None
    """CSV of `query,episode_id,weight,source`: what people searched and then played; it joins the pairs."""

    # Training
    base_model: str = ""
    """Packaged model, hub id or local path of the model that fine-tuning starts from."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`cuda` fails at once without a GPU; `auto` takes one if there is one."""
    threads: int = Field(default=0, ge=0, le=1_024)
    """Threads for model work (0: all cores this process may use)."""
    train_share: float = Field(default=0.80, gt=0, lt=1)
    eval_share: float = Field(default=0.01, gt=0, lt=1)
    """Split of the episodes; what is left is the test split."""
    max_training_episodes: int = Field(default=3_000, ge=1, le=10**9)
    """Episodes that training queries are written for (a seeded sample of the catalogue)."""
    epochs: int = Field(default=1, ge=1, le=1_000)
    batch_size: int = Field(default=64, ge=2, le=2**16)
    learning_rate: float = Field(default=2e-5, gt=0, le=1)
    seed: int = Field(default=20171201, ge=0, le=2**32 - 1)
    patience: int = Field(default=0, ge=0, le=1_000)
    """End the training after so many evaluations without a better one, and keep the best (0: train to the end)."""
    hard_negatives: int = Field(default=0, ge=0, le=50)
    """Texts to each pair that look like answers and are none."""
    cross_encoder: str = ""
    """Model that chooses them, in place of the base model."""
    guide: str = ""
    """Model that says which other texts of a batch may be answers, too; `base` is the base model."""
    teacher: str = ""
    """Cross-encoder whose scores of hard negatives are learnt in place of yes and no."""
    matryoshka: Annotated[tuple[Annotated[int, Field(ge=1, le=2**16)], ...], NoDecode] = ()
    """Dimensions to which vectors may be cut afterwards; separated by commas."""
    query_prompt: str = ""
    """Stands before each query."""
    retrain_after_days: int = Field(default=30, ge=0, le=36_500)
    """A model older than this is trained anew when episodes arrive."""
    training_gpus: int = Field(default=1, ge=1, le=64)
    """GPUs that fine-tuning takes; the batch is divided among them."""
    mini_batch_size: int = Field(default=0, ge=0, le=2**16)
    """Pairs of a batch that are in memory at a time (0: what suits the device); it does not change the model."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, more time, the same model."""
    keep_models: int = Field(default=5, ge=1, le=10_000)
    """Trained models kept beside those that are, or were just, live."""

    # Index
    index: Literal["lancedb", "pinecone"] = "lancedb"
    """The backend: embedded, or Pinecone serverless."""
    index_location: str = ""
    """Where the embedded index lives (default: <artifacts>/index)."""
    pinecone_index: str = Field(default="podsearch", pattern=r"^[a-z0-9]([a-z0-9-]{0,31}[a-z0-9])?$")
    """Pinecone's indexes are named after it, one for each dimension: podsearch-384-words, of 45 characters at most."""
    pinecone_connection: str = "pinecone_default"
    """Id of the Airflow connection with the API key; what it leaves out is taken from the settings below."""
    pinecone_api_key: SecretStr = SecretStr("")
    """The key where there is no connection: outside of Airflow (make search), or everywhere."""
    pinecone_host: str = Field(default=CONTROL_PLANE, pattern=r"^https?://[^/@\s]+/?$")
    """Pinecone's control plane."""
    pinecone_cloud: str = "aws"
    pinecone_region: str = "us-east-1"
    """Where an index is made that is not there yet."""
    encode_batch_size: int = Field(default=0, ge=0, le=2**16)
    """Texts of the greatest length that are encoded at a time, and more of shorter ones (0: what suits the device)."""
    encoder_precision: Literal["float32", "float16", "int8"] = "float32"
    """With how many bits episodes and queries are encoded: 16 are for GPUs, 8 for CPUs. Another precision is another
    model version: it is measured, passes the gate and gets a namespace like one."""
    keep_namespaces: int = Field(default=2, ge=1, le=1_000)
    """Namespaces kept for rollback, the live one included."""
    max_deleted_share: float = Field(default=0.1, ge=0, le=1)
    """Part of the live index that a re-index may delete without asking a person first."""

    # Housekeeping: for how many days something is kept that nothing needs any more
    keep_snapshot_days: int = Field(default=30, ge=1, le=36_500)
    """Snapshots of the catalogue, to which ingest_episodes can go back."""
    keep_work_days: int = Field(default=30, ge=1, le=36_500)
    """What runs leave behind: downloads, evaluations, plans, trainings without a model, unfinished work."""
    keep_report_days: int = Field(default=365, ge=1, le=36_500)
    """What people read: reports, Data Docs, what was live when."""
    keep_log_days: int = Field(default=60, ge=1, le=36_500)
    """Airflow's logs of tasks on this machine, and its records of runs."""

    # Search
    hybrid_weight: float = Field(default=0.4, ge=0, le=1)
    """Share of meaning (vectors) in what search answers, beside words that fit well; words that fit badly have less
    say. 1: meaning alone."""
    search_host: str = "127.0.0.1"
    """Where the search page and its API are reached. Beyond this machine they need a token."""
    search_port: int = Field(default=8090, ge=1, le=65535)
    search_token_file: Path | None = None
    """The file with the token that whoever searches must have (default: nobody needs one)."""

    record_searches_days: int = Field(default=0, ge=0, le=3_660)
    """For so many days it is kept what was searched, shown, opened and played, without names and addresses; training
    learns from it (0: nothing is recorded, and what was is removed)."""
    results_per_show: int = Field(default=0, ge=0, le=100)
    """Results of one show in an answer, at most, unless one show is asked for (0: any number)."""

    # Evaluation
    curated_queries: Path | None = None
    """CSV of `query,episode_ids` (default of the bundled sample: its own)."""
    evaluation_catalogue: int = Field(default=20_000, ge=1, le=10**9)
    """Most episodes that evaluation searches."""
    evaluation_queries: int = Field(default=500, ge=1, le=10**6)
    """Most test queries that evaluation asks."""
    min_index_recall: float = Field(default=0.9, ge=0, le=1)
    """Share of exact search's answers that the index must give before it goes live."""
    gate_tolerance: float = Field(default=0.05, ge=0, le=1)
    """How much Recall@30 and MRR@30 a new model may lose before it is refused."""
    gate_rule: Literal["lenient", "strict"] = "lenient"
    """What becomes of a model that is not shown to lose, by queries too few to be sure: it goes live, or a person is
    asked."""

    # Alerts
    alerts_critical: Annotated[tuple[str, ...], NoDecode] = ()
    """Airflow connections (apprise or smtp) that are told when the pipeline has stopped; ids, separated by commas."""
    alerts_warning: Annotated[tuple[str, ...], NoDecode] = ()
    """The same for what a person should look at while the pipeline goes on."""
    alert_emails: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses that mail goes to when an smtp connection is told."""
    alert_reminder_days: float = Field(default=7, gt=0, le=366)
    """A fault that lasts is told again after so long, if it was met since."""
    ingest_deadline_hours: float = Field(default=6, gt=0, le=8_784)
    """A run of ingest_episodes that has not ended by then is reported."""
    freshness_days: float | None = Field(default=None, gt=0, le=3_660)
    """A published snapshot older than this is reported (default: never, for some sources seldom change)."""
    index_lag_hours: float = Field(default=24, gt=0, le=8_784)
    """A published snapshot that search has not got so long after is reported."""

    # Airflow on one machine
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    base_url: str = Field(default="", max_length=300, pattern=r"^(https?://[^/@?#\s]+/?)?$")
    """What links to Airflow's pages begin with, such as those in alerts (default: as this machine reaches them)."""
    retry_seconds: int = Field(default=30, ge=0, le=86_400)
    """How long a failed task waits before it is tried again."""

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
        sources = (init_settings, env_settings, dotenv_settings)
        profile = next((values["profile"] for source in sources if (values := source()).get("profile")), "local")
        return (*sources, InitSettingsSource(settings_cls, PROFILES.get(profile, {})))

    @field_validator("home")
    @classmethod
    def _home_of_podsearch(cls, value: Path) -> Path:
        """Everything generated lives there: it is a folder of our own, or may become one."""
        return checked(value)

    @field_validator(
        "home", "dataset_dir", "feeds", "curated_queries", "search_logs", "search_token_file", mode="before"
    )
    @classmethod
    def _relative_to_project(cls, value: Any) -> Any:
        """A relative path means the same in every process: it starts at the project's folder."""
        return absolute(value) if value else None

    @field_validator("artifacts", "index_location")
    @classmethod
    def _folder_relative_to_project(cls, value: str) -> str:
        """The same for what may also be a URL."""
        return str(absolute(value)) if value and "://" not in value else value

    @field_validator("port", "search_port", mode="before")
    @classmethod
    def _of_no_service(cls, value: Any, info: ValidationInfo) -> Any:
        """Beside a Service that is named podsearch, Kubernetes sets PODSEARCH_PORT to the address of that; beside
        podsearch-search, PODSEARCH_SEARCH_PORT."""
        name = str(info.field_name)
        return cls.model_fields[name].default if _of_service(f"PODSEARCH_{name.upper()}", str(value)) else value

    @field_validator("alerts_critical", "alerts_warning", "alert_emails", "matryoshka", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """A list as people write it: separated by commas."""
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.train_share + self.eval_share >= 1:
            raise SettingsError(
                "PODSEARCH_TRAIN_SHARE and PODSEARCH_EVAL_SHARE leave nothing to test on: lower one of them."
            )
        try:
            Recipe.model_validate(self.model_dump(include=set(Recipe.model_fields)))
        except ValidationError as error:
            raise SettingsError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
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
    def artifacts_root(self) -> str:
        return self.artifacts or str(self.home / "artifacts")

    @property
    def required_dataset_dir(self) -> Path:
        """The folder that episodes are read from when the source is a directory."""
        assert self.dataset_dir is not None  # held by _fits_together
        return self.dataset_dir

    @property
    def required_feeds(self) -> Path:
        """The list of feeds when they are the source."""
        assert self.feeds is not None  # held by _fits_together
        return self.feeds

    @property
    def generator(self) -> GeneratorSpec:
        """What writes the training queries."""
        from include.queries.contract import GeneratorSpec

        return GeneratorSpec(
            name=self.query_generator,
            model=self.generator_model,
            revision=self.generator_revision,
            multilingual_model=self.generator_multilingual_model,
            multilingual_revision=self.generator_multilingual_revision,
            engine=self.generator_engine,
        )

    @property
    def recipe(self) -> Recipe:
        """How models are trained."""
        return Recipe.model_validate(self.model_dump(include=set(Recipe.model_fields)))

    @property
    def work_root(self) -> Path:
        """Where unfinished work waits for a retry, on this machine."""
        return self.home / "work"

    @property
    def index_root(self) -> str:
        return self.index_location or f"{self.artifacts_root.rstrip('/')}/index"

    @property
    def index_name(self) -> str:
        """What the live pointer calls the index."""
        return self.pinecone_index if self.index == "pinecone" else self.index_root

    @property
    def curated_queries_path(self) -> Path | None:
        """The curated queries that belong to the catalogue, if there are any."""
        if self.curated_queries:
            return self.curated_queries
        beside = self.required_dataset_dir / "curated_queries.csv" if self.source == "directory" else None
        return beside if beside and beside.is_file() else None


def _of_service(name: str, value: str | None) -> bool:
    """Whether Kubernetes made a variable, as it does in each pod beside a Service whose name begins with podsearch."""
    return bool(_SERVICE.fullmatch(name)) or (name.endswith("_PORT") and bool(_SERVICE_ADDRESS.match(value or "")))


def _unknown() -> list[str]:
    """A line for each variable of ours, set in the environment or in .env, that nothing reads."""
    file = Settings.model_config.get("env_file")
    values = {**(dotenv_values(file) if isinstance(file, Path) else {}), **os.environ}
    ours = {name for name in values if name.upper().startswith("PODSEARCH_") and not _of_service(name, values[name])}
    lines = []
    for name in sorted(name for name in ours if name.upper() not in KNOWN):
        nearest = difflib.get_close_matches(name.upper(), sorted(KNOWN), n=1, cutoff=0)
        lines.append(f"{name}: there is no such setting; the nearest is {nearest[0]}. Correct it or take it out.")
    return lines


TESTS = {"PODSEARCH_TEST_DATASETS"}
"""Variables of ours that are for the tests alone."""
_SERVICE = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
KNOWN = {f"PODSEARCH_{name.upper()}" for name in Settings.model_fields} | TESTS


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process.

    :raises SettingsError: one line a mistake, naming the variable.
    """
    if unknown := _unknown():
        raise SettingsError("\n".join(unknown))
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            (f"PODSEARCH_{str(item['loc'][0]).upper()}: " if item["loc"] else "")
            + item["msg"].removeprefix("Value error, ")
            for item in error.errors()
        ]
        raise SettingsError("\n".join(lines)) from None
