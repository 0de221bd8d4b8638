"""docker-compose.yaml's services as processes: Airflow with Celery, PostgreSQL, Redis and artifacts at s3://."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from deploy.local.api import AirflowApi, DagRun
from include.settings import PROJECT, Settings
from include.settings.groups import Airflow, Installation
from tests.e2e.cluster import Cluster, missing
from tests.e2e.conftest import sample_episodes, write_dataset, write_recipe
from tests.e2e.state import State
from tests.models import build_distiluse

pytestmark = pytest.mark.airflow

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
SECONDS = 900
READ = """
import pickle, sys
from include.settings import get_settings
from tests.e2e.state import read_state
with open(sys.argv[1], "wb") as file:
    pickle.dump(read_state(get_settings()), file)
"""


class ClusterApi(AirflowApi):
    """Airflow's API, for a user of a cluster."""

    def __init__(self, cluster: Cluster, user: str, password: str) -> None:
        home, port = cluster.root / "state" / "home", cluster.ports["api-server"]
        super().__init__(Settings(installation=Installation(home=home), airflow=Airflow(port=port)))
        self._user = user, password

    def login(self) -> tuple[str, str]:
        return self._user

    def wait(self, is_over: Callable[[list[DagRun]], bool], cluster: Cluster) -> list[DagRun]:
        """All runs, once they are as they are waited for."""
        deadline = time.monotonic() + SECONDS
        while not is_over(runs := self.runs(EPOCH)):
            assert time.monotonic() < deadline, (runs, cluster.log("scheduler"), cluster.log("worker"))
            time.sleep(1)
        return runs

    def is_over(self, runs: list[DagRun]) -> bool:
        """Whether search was re-indexed with a trained model, and nothing goes on or waits."""
        followers = ("train_retriever", "reindex_episodes")
        ended = all(run.is_finished for run in runs if run.dag_id in ("ingest_episodes", *followers))
        trained = any(run.dag_id == "train_retriever" for run in runs)
        return trained and ended and not any(self.has_queued_assets(dag_id) for dag_id in followers)


def settings(root: Path) -> dict[str, str]:
    """Lines of .env: a small catalogue, a tiny model."""
    write_dataset(root / "dataset", sample_episodes())
    return {
        "PODSEARCH_DATASET_DIR": str(root / "dataset"),
        "PODSEARCH_BASE_MODEL": str(build_distiluse(root / "distiluse")),
        "PODSEARCH_QUERY_GENERATOR": "extractive",
        "PODSEARCH_SHARDS": "2",
        "PODSEARCH_RECIPE": str(write_recipe(root)),
        "PODSEARCH_RETRY_SECONDS": "1",
        "PODSEARCH_GATE_TOLERANCE": "1",
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if lacks := missing():
        pytest.skip(f"this machine has no {lacks}")
    root = tmp_path_factory.mktemp("cluster")
    made = Cluster(root, settings(root))
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def admin(cluster: Cluster) -> ClusterApi:
    api = ClusterApi(cluster, "admin", cluster.admin_password)
    api.wait_until_up(lambda: None)
    return api


@pytest.fixture(scope="module")
def ended(cluster: Cluster, admin: ClusterApi) -> list[DagRun]:
    """The runs of the whole pipeline, begun by one trigger."""
    admin.wait_for_dags(["ingest_episodes", "train_retriever", "reindex_episodes"], lambda: None)
    admin.trigger("ingest_episodes")
    return admin.wait(admin.is_over, cluster)


def in_container(cluster: Cluster, *command: str) -> str:
    """What a command prints with the environment of a worker."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env=cluster.environment("worker"),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def state_of(cluster: Cluster) -> State:
    file = cluster.root / "state.pickle"
    in_container(cluster, "-c", READ, str(file))
    state: State = pickle.loads(file.read_bytes())
    return state


def test_the_pipeline_runs_through_celery_and_search_answers(
    cluster: Cluster, admin: ClusterApi, ended: list[DagRun]
) -> None:
    assert {run.dag_id for run in ended} >= {"ingest_episodes", "train_retriever", "reindex_episodes"}
    assert {run.state for run in ended if run.dag_id != "watch_search"} == {"success"}
    state = state_of(cluster)
    assert "-tuned-" in state.pointer.model_version
    assert state.states == [state.snapshot.snapshot_id]
    assert len(state.records) == state.snapshot.episodes
    found = in_container(cluster, "-m", "include.search", "--", "eat better during the holidays")
    assert any(metadata.title[:12] in found for metadata in state.records.values())


def test_tasks_run_where_their_queue_says(cluster: Cluster, ended: list[DagRun]) -> None:
    """Each of the workers logs what it was given."""
    for service, task in (("worker", "prepare_snapshot"), ("worker-cpu", "fine_tune")):
        other = {"worker": "worker-cpu", "worker-cpu": "worker"}[service]
        whole = {name: (cluster.root / "logs" / f"{name}.log").read_text(errors="replace") for name in (service, other)}
        assert task in whole[service]
        assert task not in whole[other]


def test_logs_of_tasks_are_in_the_store(cluster: Cluster, admin: ClusterApi, ended: list[DagRun]) -> None:
    run = next(run for run in ended if run.dag_id == "ingest_episodes")
    content = admin._call(
        "GET", f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/prepare_snapshot/logs/1"
    )
    assert "s3://podsearch/logs" in str(content)
    assert "Prepared" in str(content)


def test_a_viewer_looks_and_triggers_nothing(cluster: Cluster, ended: list[DagRun]) -> None:
    named = ["--username=viewer", "--firstname=V", "--lastname=V", "--email=viewer@localhost"]
    cluster.airflow("users", "create", "--role=Viewer", "--password=viewer", *named)
    viewer = ClusterApi(cluster, "viewer", "viewer")
    viewer.wait_until_up(lambda: None)
    assert [run.run_id for run in viewer.runs(EPOCH)] == [run.run_id for run in ended]
    answer = viewer._request("POST", "/api/v2/dags/ingest_episodes/dagRuns", json={"logical_date": None})
    assert answer.status_code == httpx.codes.FORBIDDEN
    stranger = httpx.get(f"{cluster.url}/api/v2/dags", trust_env=False)
    assert stranger.status_code == httpx.codes.UNAUTHORIZED


def test_no_secret_is_in_a_log(cluster: Cluster, ended: list[DagRun]) -> None:
    lines = (cluster.root / ".env").read_text().splitlines()
    secret = {line.partition("=")[2] for line in lines if "PASSWORD" in line or "SECRET" in line or "_KEY=" in line}
    assert len(secret) >= 7
    for log in (cluster.root / "logs").iterdir():
        text = log.read_text(errors="replace")
        assert not [value for value in secret if value in text], log.name
