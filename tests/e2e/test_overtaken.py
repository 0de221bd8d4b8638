"""Every task of every DAG, cleared in a run that a newer one has overtaken, on real Airflow: what happens, and that
neither the catalogue nor search goes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from deploy.local.api import AirflowApi, Run
from include.episodes import snapshot
from include.index.live import live_entry, read_live
from include.retriever.registry import newest_trained
from include.storage import ArtifactStore
from tests.e2e.conftest import Installation, install, sample_episodes, write_dataset
from tests.models import build_distiluse

pytestmark = pytest.mark.airflow

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
SECONDS = 400

# The last first: what a task had told the others is gone once it is cleared.
CLEARED = {
    "ingest_episodes": {
        "go_back": "skipped",
        "publish_snapshot": "skipped",
        "validate_drift": "success",
        "validate_episodes": "success",
        "prepare_snapshot": "failed",  # the source is another by now, and is not taken for what it was
        "validate_raw_episodes": "success",
        "validate_podcasts": "success",
        "fetch_dataset": "failed",
        "check_source": "skipped",
    },
    "train_retriever": {
        "register_model": "skipped",
        "fine_tune": "success",
        "round_trip": "success",
        "validate_queries": "success",
        "build_pairs": "success",
        "generate_queries": "success",
        "plan_training": "skipped",
    },
    "reindex_episodes": {
        "retire": "success",
        "activate": "skipped",
        "publish_report": "skipped",
        "verify_index": "skipped",
        "delete_withdrawn": "skipped",
        "upsert_shard": "skipped",
        "encode_shard": "skipped",
        "prepare_namespace": "skipped",
        "approve_deletions": "skipped",
        "plan_reindex": "skipped",
        "gate": "skipped",
        "evaluate_model": "success",
        "plan_comparison": "skipped",
    },
}
"""What becomes of each task; what follows it is not cleared."""


class Cleared(AirflowApi):
    """The API with what a person does to single tasks."""

    def clear(self, run: Run, task_id: str) -> None:
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run.run_id, "task_ids": [task_id]}
        self._call("POST", f"/api/v2/dags/{run.dag_id}/clearTaskInstances", json=body)

    def mark(self, run: Run, task_id: str, state: str) -> None:
        path = f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}"
        self._call("PATCH", path, json={"new_state": state})

    def states(self, run: Run, task_id: str) -> set[str | None]:
        return {task.state for task in self.tasks(run) if task.task_id == task_id}

    def wait(self, *dag_ids: str) -> None:
        """Until no run of some DAGs goes on, and no asset event waits to start one."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            time.sleep(0.5)
            going = [run for run in self.runs(EPOCH) if run.dag_id in dag_ids and not run.is_finished]
            if not going and not any(self.has_queued_assets(dag_id) for dag_id in dag_ids):
                return
        raise AssertionError(f"{dag_ids} did not end")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Version 1 was ingested, trained on and indexed; then version 2; then another model was trained and indexed."""
    root = tmp_path_factory.mktemp("overtaken")
    installed = install(root, base_model=str(build_distiluse(root / "distiluse")), query_generator="extractive")
    code, output = installed.call("deploy.local", "up")
    assert code == 0, output
    try:
        for episodes in (sample_episodes()[:145], sample_episodes()):
            write_dataset(installed.dataset, episodes)
            code, output = installed.call("deploy.local", "run")
            assert code == 0, output
        yield installed
    finally:
        installed.call("deploy.local", "down")


@pytest.fixture(scope="module")
def api(installation: Installation) -> Cleared:
    api = Cleared(installation.settings)
    api.wait_until_up(lambda: None)
    api.trigger("train_retriever", {"force": True})
    api.wait(*CLEARED)
    return api


@pytest.fixture
def store(installation: Installation) -> ArtifactStore:
    return ArtifactStore(installation.settings.artifacts_root)


def state_of(store: ArtifactStore) -> tuple[str, ...]:
    newest = newest_trained(store)
    assert newest is not None
    return snapshot.latest_entry(store), live_entry(read_live(store)), newest.version


def worked(api: Cleared, dag_id: str, last: str) -> list[Run]:
    """The runs of a DAG that went to their last task, the oldest first."""
    runs = [run for run in api.runs(EPOCH) if run.dag_id == dag_id]
    return [run for run in runs if "success" in api.states(run, last)]


def test_no_task_of_an_older_run_takes_anything_back(
    installation: Installation, api: Cleared, store: ArtifactStore
) -> None:
    before, decisions = state_of(store), store.names("decisions")
    last = {"ingest_episodes": "publish_snapshot", "train_retriever": "register_model", "reindex_episodes": "retire"}
    runs = {dag_id: worked(api, dag_id, task_id) for dag_id, task_id in last.items()}
    assert {dag_id: len(found) >= 2 for dag_id, found in runs.items()} == dict.fromkeys(CLEARED, True)
    left = {dag_id: list(tasks) for dag_id, tasks in CLEARED.items()}
    became: dict[str, dict[str, str | None]] = {dag_id: {} for dag_id in CLEARED}
    while any(left.values()):
        now = {dag_id: tasks.pop(0) for dag_id, tasks in left.items() if tasks}
        for dag_id, task_id in now.items():
            api.clear(runs[dag_id][0], task_id)
        api.wait(*CLEARED)
        for dag_id, task_id in now.items():
            (became[dag_id][task_id],) = api.states(runs[dag_id][0], task_id)
        assert state_of(store) == before, now
    assert became == CLEARED
    assert store.names("decisions") == decisions

    # A task that a person marks as success has told the others nothing, and they say so.
    api.mark(runs["ingest_episodes"][0], "check_source", "success")
    api.clear(runs["ingest_episodes"][0], "fetch_dataset")
    api.wait("ingest_episodes")
    assert api.states(runs["ingest_episodes"][0], "fetch_dataset") == {"failed"}
    logs = installation.home / "airflow" / "logs"
    written = [log.read_text() for log in logs.glob("**/task_id=fetch_dataset/*.log")]
    assert any("The field source_version of fetch_dataset is empty, because check_source" in text for text in written)
    assert state_of(store) == before


def test_a_run_that_is_triggered_twice_finds_nothing_new_the_second_time(api: Cleared, store: ArtifactStore) -> None:
    before = state_of(store)
    triggered = [api.trigger("ingest_episodes") for _ in range(2)]
    api.wait(*CLEARED)
    runs = [run for run in api.runs(EPOCH) if run.run_id in triggered]
    assert [(run.state, api.states(run, "check_source")) for run in runs] == [("success", {"skipped"})] * 2
    assert state_of(store) == before


def test_going_back_on_purpose_takes_search_back_and_the_next_run_leaves_it(api: Cleared, store: ArtifactStore) -> None:
    older = snapshot.publications(store)[0].snapshot_id
    api.trigger("ingest_episodes", {"go_back_to": older})
    api.wait(*CLEARED)
    api.trigger("ingest_episodes")
    api.wait(*CLEARED)
    latest, live = snapshot.latest(store), read_live(store)
    assert latest is not None
    assert live is not None
    assert (latest.snapshot_id, live.snapshot_id) == (older, older)
