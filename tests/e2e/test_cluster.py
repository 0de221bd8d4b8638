"""docker-compose.yaml's services as processes: Airflow with Celery, PostgreSQL, Redis and artifacts at s3://.

The pipeline runs while everything that it stands on fails once, and ends in the same state as on one machine.
"""

from __future__ import annotations

import contextlib
import pickle
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deploy.local.api import AirflowApi, DagRun
from include.settings import PROJECT, Settings
from include.settings.groups import Airflow, Installation
from tests.e2e.cluster import Cluster, missing
from tests.e2e.conftest import install
from tests.e2e.state import State, assert_same
from tests.standins.s3 import BROKEN, THROTTLED, Fault

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
            time.sleep(2)
        return runs

    def is_over(self, runs: list[DagRun]) -> bool:
        """Whether search was re-indexed with a trained model, and nothing goes on or waits."""
        followers = ("train_retriever", "reindex_episodes")
        ended = all(run.is_finished for run in runs if run.dag_id in ("ingest_episodes", *followers))
        trained = any(run.dag_id == "train_retriever" for run in runs)
        return trained and ended and not any(self.has_queued_assets(dag_id) for dag_id in followers)


def settings(root: Path, models: dict[str, Any]) -> dict[str, str]:
    """Lines of .env: the catalogue, models and recipe of an installation on one machine, but not its places."""
    lines = install(root, **models).environment
    places = {"PODSEARCH_HOME", "PODSEARCH_PORT", "PODSEARCH_SEARCH_PORT"}
    return {
        **{name: line for name, line in lines.items() if name.startswith("PODSEARCH_") and name not in places},
        "COMPOSE_PROFILES": "cpu,tls",
        "TLS_CERTIFICATES": "local_certs",
    }


INSTEAD = {
    "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
}
"""How long a failed task waits, and one is waited for whose worker is silent, or that no worker takes: less long than
on a server. DAG files, which nobody changes, are read more seldom."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, production_models: dict[str, Any]) -> Iterator[Cluster]:
    if lacks := missing():
        pytest.skip(f"this machine has no {lacks}")
    root = tmp_path_factory.mktemp("cluster")
    made = Cluster(root, settings(root, production_models), INSTEAD)
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
    """The runs of the whole pipeline, begun by one trigger, while everything that it stands on fails once.

    With two schedulers, of which one is killed; Redis and a worker killed in the middle of what they do; PostgreSQL
    away for ten seconds; and a store that throttles, is slow, and fails on every tenth request.
    """
    admin.wait_for_dags(["ingest_episodes", "train_retriever", "reindex_episodes"], lambda: None)
    cluster.start("scheduler-2", "scheduler")
    cluster.store.faults = [
        Fault(every=10, answer=BROKEN),
        Fault(every=15, answer=THROTTLED),
        Fault(every=20, lose_answer=True),
        Fault(every=25, seconds=1),
    ]
    admin.trigger("ingest_episodes")
    until_begun(cluster, "prepare_snapshot")
    cluster.kill("redis")
    until_begun(cluster, "generate_queries")
    cluster.kill("scheduler")
    until_begun(cluster, "fine_tune")
    cluster.kill("worker-cpu")
    until_begun(cluster, "register_model")
    cluster.stop("postgres", signal.SIGINT)
    time.sleep(10)
    cluster.start("postgres")
    runs = admin.wait(admin.is_over, cluster)
    met = [fault.met for fault in cluster.store.faults]
    assert min(met) > 0, met
    cluster.store.behave()
    return runs


def until_begun(cluster: Cluster, task_id: str) -> None:
    """Wait until a task of that name has begun."""
    deadline = time.monotonic() + SECONDS
    waits = "state IS NULL OR state IN ('scheduled', 'queued')"
    # Not through the API, which would be asked for half of its time.
    while not cluster.query(f"SELECT 1 FROM task_instance WHERE task_id = '{task_id}' AND NOT ({waits})"):
        assert time.monotonic() < deadline, (task_id, cluster.log("scheduler"), cluster.log("scheduler-2"))
        time.sleep(0.5)


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


def test_whatever_fails_the_pipeline_ends_as_on_one_machine(
    cluster: Cluster, ended: list[DagRun], request: pytest.FixtureRequest
) -> None:
    """The same catalogue, models and recipe, undisturbed, on SQLite, local files and the local executor."""
    assert {run.dag_id for run in ended} >= {"ingest_episodes", "train_retriever", "reindex_episodes"}
    assert {run.state for run in ended if run.dag_id != "watch_search"} == {"success"}
    assert {"redis", "scheduler", "worker-cpu"} <= set(cluster.restarted)
    tries = cluster.query("SELECT max(try_number) FROM task_instance WHERE task_id = 'fine_tune'")
    assert int(tries[0]) > 1, "its worker was killed in the middle"
    file = cluster.root / "state.pickle"
    in_container(cluster, "-c", READ, str(file))
    state: State = pickle.loads(file.read_bytes())
    assert "-tuned-" in state.pointer.model_version
    assert len(state.records) == state.snapshot.episodes
    # Not asked for above: it would be waited for before the cluster runs.
    assert_same(request.getfixturevalue("on_one_machine"), state)


def test_search_answers(cluster: Cluster, ended: list[DagRun], on_one_machine: State) -> None:
    found = in_container(cluster, "-m", "include.search", "--", "eat better during the holidays")
    assert any(metadata.title[:12] in found for metadata in on_one_machine.records.values())


def test_tasks_run_where_their_queue_says(cluster: Cluster, ended: list[DagRun]) -> None:
    """Each of the workers logs what it was given."""
    for service, task in (("worker", "prepare_snapshot"), ("worker-cpu", "fine_tune")):
        other = {"worker": "worker-cpu", "worker-cpu": "worker"}[service]
        whole = {name: (cluster.root / "logs" / f"{name}.log").read_text(errors="replace") for name in (service, other)}
        assert task in whole[service]
        assert task not in whole[other]


def test_workers_have_imported_what_tasks_would_import(cluster: Cluster, ended: list[DagRun]) -> None:
    for service, has in (("worker", False), ("worker-cpu", True), ("scheduler", False)):
        libraries = {Path(file.path).name for file in psutil.Process(cluster.processes[service].pid).memory_maps()}
        assert ("libtorch_cpu.so" in libraries) == has, service


def test_logs_of_tasks_are_in_the_store(cluster: Cluster, admin: ClusterApi, ended: list[DagRun]) -> None:
    run = next(run for run in ended if run.dag_id == "ingest_episodes")
    task = f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/prepare_snapshot"
    content = admin._call("GET", f"{task}/logs/{admin._call('GET', task)['try_number']}")
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


def test_containers_can_be_read_only(cluster: Cluster, ended: list[DagRun]) -> None:
    """All of the above was done by processes that could write to what is mounted, and nowhere else."""
    if not cluster.read_only:
        pytest.skip("mounting needs root")
    done = subprocess.run([*cluster.read_only, "touch", str(PROJECT / "written")], capture_output=True, check=False)
    assert b"Read-only file system" in done.stderr


def test_behind_tls_a_login_is_for_tls_alone(cluster: Cluster) -> None:
    if not shutil.which("caddy"):
        pytest.skip("there is no caddy")
    cluster.start("proxy")
    cluster.wait("proxy", cluster.certificate.is_file)
    url = f"https://localhost:{cluster.ports['https']}"
    context = ssl.create_default_context(cafile=str(cluster.certificate))
    with httpx.Client(base_url=url, verify=context, trust_env=False, timeout=60, follow_redirects=False) as browser:
        cluster.wait("proxy", lambda: _answers(browser))
        page = browser.get("/auth/login/")
        form = {"username": "admin", "password": cluster.admin_password, "csrf_token": csrf_token(page.text)}
        answer = browser.post("/auth/login/", data=form, headers={"Referer": str(page.url)})
        cookies = [value for name, value in answer.headers.multi_items() if name == "set-cookie" and "_token=" in value]
        assert cookies
        assert all("; Secure" in cookie and "; HttpOnly" in cookie for cookie in cookies)
        assert browser.get("/api/v2/dags").is_success
    plain = httpx.get(f"http://localhost:{cluster.ports['http']}/", trust_env=False)
    assert (plain.status_code, plain.headers["location"]) == (308, "https://localhost/"), "to the port of HTTPS"


def csrf_token(page: str) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)', page)
    return found[1] if found else ""


def _answers(browser: httpx.Client) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return browser.get("/api/v2/version").is_success
    return False


def test_each_task_was_handed_out_once(cluster: Cluster, ended: list[DagRun]) -> None:
    """A try has an id of its own, and a worker logs what it is given."""
    text = "".join((cluster.root / "logs" / f"{name}.log").read_text() for name in ("worker", "worker-cpu"))
    handed_out = re.findall(r"Executing workload in Celery: .*?TaskInstance\w*\(id=UUID\('([0-9a-f-]+)'\)", text)
    assert len(handed_out) > 25
    assert len(handed_out) == len(set(handed_out))


def test_both_schedulers_sent_tasks(cluster: Cluster, ended: list[DagRun]) -> None:
    jobs = cluster.query("SELECT DISTINCT queued_by_job_id FROM task_instance WHERE queued_by_job_id IS NOT NULL")
    assert len(jobs) >= 2


def test_no_secret_is_in_a_log(cluster: Cluster, ended: list[DagRun]) -> None:
    lines = (cluster.root / ".env").read_text().splitlines()
    secret = {line.partition("=")[2] for line in lines if "PASSWORD" in line or "SECRET" in line or "_KEY=" in line}
    assert len(secret) >= 7
    for log in (cluster.root / "logs").iterdir():
        text = log.read_text(errors="replace")
        assert not [value for value in secret if value in text], log.name
