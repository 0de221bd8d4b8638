"""A small catalogue, tiny models, and podsearch on one machine as a user runs it: real Airflow, real executor."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pickle
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from deploy.local.__main__ import DAGS
from deploy.local.api import AirflowApi, DagRun
from deploy.local.environment import DATABASE, airflow_home
from deploy.local.processes import STATE, Airflow
from include.settings import PROJECT, SAMPLE_DIR, Settings, groups
from tests.e2e.state import State, read_state
from tests.models import build_distiluse
from tests.standins.kaggle import KaggleStandIn
from tests.standins.pinecone import PineconeStandIn
from tests.standins.smtp import MailStandIn
from tests.standins.webhook import WebhookStandIn
from tests.t5 import build_t5

EPISODES = 150
TOKEN = "a-token-that-nobody-may-see"
"""Of the webhook that alerts go to."""
TITLE = re.compile(r"airflow worker -- ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
"""The title of a process that works on a task, with the task instance's id. It is not written at once: until it is
whole, the process is none of these."""


@dataclass
class Installation:
    """One podsearch with a home, a port and a dataset of its own."""

    home: Path
    dataset: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return Settings(
            installation=groups.Installation(home=self.home),
            episodes=groups.Episodes(dataset_dir=self.dataset),
            airflow=groups.Airflow(port=int(self.environment["PODSEARCH_PORT"])),
            search=groups.Search(port=int(self.environment["PODSEARCH_SEARCH_PORT"])),
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=PROJECT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def call(self, *command: str, timeout: float = 900) -> tuple[int, str]:
        """Run a command to its end; exit status and output."""
        process = self.start(*command)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
            raise AssertionError(f"{command} did not end:\n{output}") from None
        return process.returncode, output

    def bring_up(self) -> None:
        """`make up`, unless its Airflow runs."""
        if not Airflow(airflow_home(self.home), {}).is_whole():
            code, output = self.call("deploy.local", "up", "--without-search")
            assert code == 0, output

    def take_down(self) -> None:
        """`make down`."""
        code, output = self.call("deploy.local", "down")
        assert code == 0, output


def install(root: Path, *, base_model: str, recipe: dict[str, int] | None = None, **settings: str) -> Installation:
    """An installation that nothing was run in yet.

    :param recipe: entries of the recipe beside the tests' own.
    :param settings: other settings than the tests' own, by name.
    """
    dataset = root / "dataset"
    write_dataset(dataset, sample_episodes())
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PODSEARCH_", "AIRFLOW_"))}
    environment = {
        **clean,
        "PYTHONPATH": str(PROJECT),
        "PODSEARCH_HOME": str(root / "home"),
        "PODSEARCH_PORT": str(free_port()),
        "PODSEARCH_SEARCH_PORT": str(free_port()),
        "PODSEARCH_DATASET_DIR": str(dataset),
        "PODSEARCH_BASE_MODEL": base_model,
        "PODSEARCH_SHARDS": "2",
        "PODSEARCH_RECIPE": str(write_recipe(root, **(recipe or {}))),
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
        # The tiny model knows nothing: it is not to be judged, only moved through the pipeline.
        "PODSEARCH_GATE_TOLERANCE": "1",
        **{f"PODSEARCH_{name.upper()}": value for name, value in settings.items()},
    }
    return Installation(root / "home", dataset, environment)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_recipe(folder: Path, **entries: int) -> Path:
    """A recipe for a small catalogue."""
    path = folder / "recipe.toml"
    path.write_text("".join(f"{name} = {value}\n" for name, value in ({"batch_size": 16} | entries).items()))
    return path


def sample_episodes() -> list[dict[str, str]]:
    """The first rows of the bundled sample's episodes."""
    with (SAMPLE_DIR / "episodes.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))[:EPISODES]


def write_dataset(folder: Path, episodes: list[dict[str, str]]) -> None:
    """A dataset of some episodes, with the sample's shows and curated queries."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("podcasts.csv", "curated_queries.csv"):
        shutil.copy(SAMPLE_DIR / name, folder / name)
    part = folder / "episodes.csv.part"
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(episodes[0]))
        writer.writeheader()
        writer.writerows(episodes)
    part.replace(folder / "episodes.csv")


def start_anew(installation: Installation, *, going: Collection[str] = ()) -> AirflowApi:
    """Take all that podsearch has made in an installation, but not its Airflow, which is started if it does not run.

    The file of a group that is the last to begin so stops it (``down``): it would keep the cores busy for no test.

    :param going: the DAGs of the pipeline that are not paused.
    :returns: what its API is reached with.
    """
    installation.bring_up()
    api = AirflowApi(installation.settings)
    api.wait_until_up(lambda: None)
    for dag_id in DAGS:
        api._call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": dag_id not in going})
        if api.has_queued_assets(dag_id):
            api._request("DELETE", f"/api/v2/dags/{dag_id}/assets/queuedEvents")
    for name in ("artifacts", "work"):
        shutil.rmtree(installation.home / name, ignore_errors=True)
    return api


def ask(home: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    """Rows of Airflow's database. For what is asked again and again: an answer of its API is work for a core."""
    with contextlib.closing(sqlite3.connect(f"file:{airflow_home(home) / DATABASE}?mode=ro", uri=True)) as database:
        return database.execute(query, values).fetchall()


def run_to_end(
    api: AirflowApi, installation: Installation, dag_id: str, params: dict[str, Any] | None = None, seconds: float = 300
) -> DagRun:
    """Trigger a DAG and wait until its run has ended."""
    run_id, deadline = api.trigger(dag_id, params), time.monotonic() + seconds
    while True:
        [(state,)] = ask(installation.home, "SELECT state FROM dag_run WHERE dag_id = ? AND run_id = ?", dag_id, run_id)
        run = DagRun(dag_id, run_id, state, queued_at=None)
        if run.is_finished:
            return run
        assert time.monotonic() < deadline, [(task.task_id, task.state) for task in api.tasks(run)]
        time.sleep(0.3)


class Killer(threading.Thread):
    """Kills (SIGKILL) the process of each named task once: so many seconds after it began, or when it wrote a file.

    :param tasks: seconds, or the pattern of a file in the installation's home.

    A task's process is held (SIGSTOP) from when it first shows until it is known which task it is: however quick the
    task and slow the machine, it cannot be over by then. Only processes of this installation's scheduler are looked at:
    another's may be held by a killer of its own.
    """

    def __init__(self, installation: Installation, tasks: Mapping[str, float | str]) -> None:
        super().__init__(daemon=True)
        self.installation = installation
        self.left = dict(tasks)
        self.killed: set[str] = set()
        self.stopped = threading.Event()

    def run(self) -> None:
        seen: set[str] = set()
        while self.left and not self.stopped.wait(0.02):
            for instance, process in tasks_at_work(self.installation):
                if instance not in seen:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        self._meet(process, self._task_of(instance, process))
                        seen.add(instance)

    def _task_of(self, instance: str, process: psutil.Process) -> str | None:
        """The name of the task that a process runs; none where Airflow does not know it."""
        process.suspend()
        try:
            key = uuid.UUID(instance).hex
            found = ask(self.installation.home, "SELECT task_id FROM task_instance WHERE id = ?", key)
            return str(found[0][0]) if found else None
        finally:
            process.resume()

    def _meet(self, process: psutil.Process, task_id: str | None) -> None:
        if task_id in self.left:
            moment = self.left.pop(task_id)
            if isinstance(moment, str):
                while process.is_running() and not any(self.installation.home.glob(moment)):
                    time.sleep(0.005)
            else:
                time.sleep(moment)
            process.kill()
            self.killed.add(task_id)


def tasks_at_work(installation: Installation) -> Iterator[tuple[str, psutil.Process]]:
    """The processes that work on tasks of an installation, each with the id of its task instance."""
    state = json.loads((airflow_home(installation.home) / STATE).read_text())
    scheduler = state["components"]["scheduler"]["pid"]  # it leads the session of all that it starts
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(pid) == scheduler:
                process = psutil.Process(pid)
                title = " ".join(process.cmdline()).rstrip()  # Airflow sets it, and blanks what it replaces
                if written := TITLE.fullmatch(title):
                    yield written[1], process


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes that these tests are shared out among."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def production_models(common: Path) -> dict[str, Any]:
    """Settings that have the models of production, of the same classes and tiny: a T5 v1.1 that writes the queries, and
    a retriever of distiluse's shape.

    They are built once: their paths are part of what is trained, which the tests of two processes compare.
    """
    folder = common / "models"
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            build_distiluse(common / "models.part" / "distiluse")
            build_t5(common / "models.part" / "t5")
            (common / "models.part").rename(folder)
    return {
        "base_model": str(folder / "distiluse" / "model"),
        "query_generator": "doc2query",
        "generator_model": str(folder / "t5"),
        # So tiny a model does not survive being rounded to eight bits.
        "generator_engine": "torch",
        # Long enough to be killed in the middle.
        "recipe": {"query_shard_episodes": 80, "epochs": 3},
    }


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, production_models: dict[str, Any]) -> Iterator[Installation]:
    """An installation whose Airflow is left running (`make up`) while tests use it."""
    installation = install(tmp_path_factory.mktemp("undisturbed"), **production_models)
    installation.bring_up()
    yield installation
    installation.call("deploy.local", "down")


@pytest.fixture(scope="session")
def first_run(undisturbed: Installation, common: Path) -> tuple[str, State]:
    """What the first run of the whole pipeline said, and what it left."""
    file = common / "first_run.pickle"
    with FileLock(f"{file}.lock", is_singleton=True):
        code, output = undisturbed.call("deploy.local", "run")
        assert code == 0, output
        state = read_state(undisturbed.settings)
        file.write_bytes(pickle.dumps(state))
    return output, state


@pytest.fixture(scope="session")
def on_one_machine(request: pytest.FixtureRequest, common: Path) -> State:
    """What a first run of the whole pipeline left, which another process of these tests may have seen."""
    file = common / "first_run.pickle"
    with FileLock(f"{file}.lock", is_singleton=True):
        if not file.exists():
            request.getfixturevalue("first_run")
        state: State = pickle.loads(file.read_bytes())
    return state


@pytest.fixture(scope="session")
def unserved_kaggle() -> KaggleStandIn:
    """The same for several files, though its one port is held for each of them alone: other tests wait for it."""
    return KaggleStandIn()


@pytest.fixture(scope="module")
def kaggle(unserved_kaggle: KaggleStandIn) -> Iterator[KaggleStandIn]:
    with unserved_kaggle.serve():
        yield unserved_kaggle


@pytest.fixture(scope="session")
def pinecone() -> Iterator[PineconeStandIn]:
    with PineconeStandIn().serve() as standin:
        yield standin


@pytest.fixture(scope="session")
def productive(
    tmp_path_factory: pytest.TempPathFactory,
    production_models: dict[str, Any],
    unserved_kaggle: KaggleStandIn,
    pinecone: PineconeStandIn,
) -> Iterator[Installation]:
    """An installation with the production profile, and Kaggle's key in the environment alone; for several files, each
    of which begins with :func:`start_anew`."""
    root = tmp_path_factory.mktemp("productive")
    installation = install(
        root,
        profile="production",
        device="cpu",  # no GPU is asked for where tests run
        kaggle_dataset=unserved_kaggle.dataset,
        curated_queries=str(root / "dataset" / "curated_queries.csv"),
        pinecone_host=pinecone.host,
        pinecone_api_key=pinecone.key,
        **production_models,
    )
    del installation.environment["PODSEARCH_DATASET_DIR"]
    installation.environment |= {
        "KAGGLE_API_ENVIRONMENT": "TEST",
        "NO_PROXY": "localhost,127.0.0.0/8",
        "AIRFLOW_CONN_KAGGLE_DEFAULT": json.dumps({"conn_type": "kaggle", "password": unserved_kaggle.token}),
    }
    yield installation
    installation.call("deploy.local", "down")


@pytest.fixture(scope="session")
def mail() -> Iterator[MailStandIn]:
    with MailStandIn().serve() as standin:
        yield standin


@pytest.fixture(scope="session")
def webhook() -> Iterator[WebhookStandIn]:
    with WebhookStandIn().serve() as standin:
        yield standin


@pytest.fixture(scope="session")
def telling(
    tmp_path_factory: pytest.TempPathFactory,
    production_models: dict[str, Any],
    mail: MailStandIn,
    webhook: WebhookStandIn,
) -> Iterator[Installation]:
    """An installation that tells a mail server and a webhook of what fails.

    A run of ingestion misses its deadline of a second, and search lags behind at once. Training takes long enough to be
    marked in the middle, and for its task to hear of it, within a second. For several files, each of which begins with
    :func:`start_anew`.
    """
    root = tmp_path_factory.mktemp("telling")
    installation = install(
        root,
        base_model=production_models["base_model"],
        query_generator="extractive",
        shards="1",
        recipe={"epochs": 30},
        index_lag_hours="1e-6",
    )
    if installation.environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Every task would compile all that it imports, and take twice as long.
        installation.environment.setdefault("PYTHONPYCACHEPREFIX", str(root / "compiled"))
    installation.environment |= {
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "PODSEARCH_ALERTS_CRITICAL": "alerts_mail,alerts_webhook",
        "PODSEARCH_ALERTS_WARNING": "alerts_webhook",
        "PODSEARCH_ALERT_EMAILS": "someone@example.org",
        "PODSEARCH_INGEST_DEADLINE_HOURS": str(1 / 3600),
        "AIRFLOW_CONN_ALERTS_MAIL": json.dumps(mail.connection),
        "AIRFLOW_CONN_ALERTS_WEBHOOK": json.dumps(webhook.connection(TOKEN)),
    }
    yield installation
    installation.call("deploy.local", "down")


@pytest.fixture
def fresh(tmp_path: Path, production_models: dict[str, Any]) -> Iterator[Installation]:
    installation = install(tmp_path, **production_models)
    yield installation
    installation.call("deploy.local", "down")
