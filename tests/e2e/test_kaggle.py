"""Ingestion from Kaggle on a real Airflow: the official client in real tasks, against the stand-in.

With ``PODSEARCH_TEST_DATASETS`` set, its ``version-1`` and ``version-2`` are what is served.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.local.api import AirflowApi, DagRun, TaskInstance
from include.episodes import snapshot
from include.storage import ArtifactStore
from tests.e2e.conftest import Installation, run_to_end, sample_episodes, start_anew, tasks_at_work, write_dataset
from tests.standins.kaggle import DOWNLOAD, LOOK_UP, STORAGE, Fault, KaggleStandIn

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def airflow(productive: Installation, kaggle: KaggleStandIn) -> Iterator[Installation]:
    """Airflow with nothing but ingestion running, and the key in the environment alone."""
    start_anew(productive, going=["ingest_episodes"])
    kaggle.forget()
    yield productive
    productive.take_down()


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two versions of a dataset."""
    if root := os.environ.get("PODSEARCH_TEST_DATASETS"):
        return [Path(root) / "version-1", Path(root) / "version-2"]
    folders = [tmp_path_factory.mktemp(f"version-{number}") for number in (1, 2)]
    write_dataset(folders[0], sample_episodes())
    write_dataset(folders[1], sample_episodes()[1:])
    return folders


@dataclass
class Ingestion:
    """A run of ``ingest_episodes`` and its tasks by name."""

    run: DagRun
    tasks: dict[str, TaskInstance]

    @property
    def states(self) -> set[str | None]:
        """Of all tasks but the one that goes back to an earlier snapshot, which no run here was told to do."""
        return {task.state for task_id, task in self.tasks.items() if task_id != "go_back"}

    def log(self, airflow: Installation, task_id: str) -> str:
        """All that a task has logged, over its tries."""
        folder = airflow.home / "airflow" / "logs" / "dag_id=ingest_episodes" / f"run_id={self.run.run_id}"
        return "".join(file.read_text() for file in sorted((folder / f"task_id={task_id}").glob("attempt=*.log")))


def log_in(airflow: Installation) -> AirflowApi:
    api = AirflowApi(airflow.settings)
    api.wait_until_up(lambda: None)
    return api


def ingest(airflow: Installation) -> Ingestion:
    """Run ingestion to its end."""
    api = log_in(airflow)
    run = run_to_end(api, airflow, "ingest_episodes")
    return Ingestion(run, {task.task_id: task for task in api.tasks(run)})


def kill_what_has_stalled(airflow: Installation, kaggle: KaggleStandIn) -> None:
    """Kill (SIGKILL) the process of the task that waits for a download."""
    assert kaggle.stalled.wait(300)
    api = log_in(airflow)
    tasks = [task for run in api.runs(datetime.now(UTC)) for task in api.tasks(run)]
    fetch = next(task for task in tasks if task.task_id == "fetch_dataset")
    for instance, process in tasks_at_work(airflow):
        if instance == fetch.id:
            process.kill()


def latest(airflow: Installation) -> snapshot.Manifest:
    found = snapshot.latest(ArtifactStore(airflow.settings.installation.artifacts_root))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def first(airflow: Installation, kaggle: KaggleStandIn, versions: list[Path]) -> snapshot.Manifest:
    """The first version, after all that may happen on the way to it."""
    kaggle.add_version(versions[0])
    size = len(kaggle.versions[1]["episodes.csv"])
    kaggle.faults += [
        Fault(LOOK_UP, status=429, headers={"Retry-After": "2"}),
        Fault(DOWNLOAD, status=503),
        Fault(STORAGE, cut_at=10),
        Fault(STORAGE),  # the podcasts
        Fault(STORAGE, cut_at=size // 2 + 16_384),
        Fault(STORAGE, stall_at=size // 2 + 16_384),
    ]
    killing = threading.Thread(target=kill_what_has_stalled, args=(airflow, kaggle), daemon=True)
    killing.start()
    ingestion = ingest(airflow)
    assert ingestion.states == {"success"}
    assert ingestion.tasks["check_source"].try_number == 2, "throttled once"
    assert "Kaggle asks us to wait 2 s (429" in ingestion.log(airflow, "check_source")
    assert ingestion.tasks["fetch_dataset"].try_number == 2, "killed once; the rest was met within the try"
    log = ingestion.log(airflow, "fetch_dataset")
    assert "Kaggle failed (503" in log
    assert "MiB/s" in log
    return latest(airflow)


def test_a_version_is_ingested_in_spite_of_it_all(first: snapshot.Manifest, kaggle: KaggleStandIn) -> None:
    assert first.source_version == "listennotes.episodes.v1"
    assert first.episodes > 100
    size = len(kaggle.versions[1]["episodes.csv"])
    asked = [request.split() for request in kaggle.requests if request.startswith(f"{STORAGE} 1 episodes.csv")]
    starts = [int(words[3].removeprefix("bytes=").rstrip("-")) for words in asked if len(words) > 3]
    assert starts, "the download went on where it was cut"
    assert all(size // 2 - 16_384 < start <= size // 2 + 16_384 for start in starts)
    assert kaggle.leaks == []


def test_a_new_version_is_ingested_and_the_same_again_costs_one_request(
    first: snapshot.Manifest, airflow: Installation, kaggle: KaggleStandIn, versions: list[Path]
) -> None:
    kaggle.add_version(versions[1])
    assert ingest(airflow).states == {"success"}
    second = latest(airflow)
    assert second.source_version == "listennotes.episodes.v2"
    assert second.snapshot_id != first.snapshot_id

    kaggle.requests.clear()
    ingestion = ingest(airflow)
    assert ingestion.run.state == "success"
    assert ingestion.states == {"skipped"}
    assert kaggle.requests == [LOOK_UP], "nothing is downloaded"
    assert latest(airflow) == second


def test_a_refused_key_fails_at_once_and_says_what_to_set(
    first: snapshot.Manifest, airflow: Installation, kaggle: KaggleStandIn
) -> None:
    kaggle.faults.append(Fault(LOOK_UP, status=401, message=f"{kaggle.token} is not welcome", times=99))
    before = latest(airflow)
    ingestion = ingest(airflow)
    kaggle.faults.clear()
    assert ingestion.run.state == "failed"
    assert (ingestion.tasks["check_source"].state, ingestion.tasks["check_source"].try_number) == ("failed", 1)
    assert "kaggle_default" in ingestion.log(airflow, "check_source")
    assert latest(airflow) == before, "the last good snapshot stays"


def test_a_file_that_is_damaged_at_kaggle_is_never_taken(
    first: snapshot.Manifest, airflow: Installation, kaggle: KaggleStandIn, versions: list[Path]
) -> None:
    number = kaggle.add_version(versions[1])
    damaged = bytearray(kaggle.versions[number]["episodes.csv"])
    damaged[len(damaged) // 2] ^= 0xFF
    kaggle.versions[number]["episodes.csv"] = bytes(damaged)
    before = latest(airflow)
    ingestion = ingest(airflow)
    assert (ingestion.tasks["fetch_dataset"].state, ingestion.tasks["fetch_dataset"].try_number) == ("failed", 1)
    assert "damaged or incomplete zip" in ingestion.log(airflow, "fetch_dataset")
    assert latest(airflow) == before
    kaggle.latest = number - 1


def test_airflows_page_has_the_form_and_never_shows_the_key(airflow: Installation, kaggle: KaggleStandIn) -> None:
    api = log_in(airflow)
    forms = api._request("GET", "/ui/connections/hook_meta").json()
    form = next(form for form in forms if form["connection_type"] == "kaggle")
    assert form["hook_name"] == "Kaggle"
    fields = form["standard_fields"]
    assert (fields["login"]["title"], fields["password"]["title"]) == ("User name", "API token or key")
    assert all(fields[name]["hidden"] for name in ("host", "port", "url_schema") if fields.get(name))
    made = {"connection_id": "kaggle_of_the_page", "conn_type": "kaggle", "password": kaggle.token}
    api._call("POST", "/api/v2/connections", json=made)
    shown = api._call("GET", "/api/v2/connections/kaggle_of_the_page")
    assert kaggle.token not in json.dumps(shown)


def test_the_key_is_in_no_file(first: snapshot.Manifest, airflow: Installation, kaggle: KaggleStandIn) -> None:
    """Logs, rendered templates, XComs and exceptions included: the metadata database is one of the files."""
    files = [file for file in airflow.home.rglob("*") if file.is_file()]
    assert len([file for file in files if file.suffix == ".log"]) > 10
    assert any(file.suffix == ".db" for file in files)
    assert [file for file in files if kaggle.token.encode() in file.read_bytes()] == []
