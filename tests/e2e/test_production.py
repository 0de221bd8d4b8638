"""The production settings on real Airflow, with nothing changed but addresses, keys, the models and the device.

Kaggle and Pinecone are stand-ins that the official clients talk to; the models are tiny, and of production's classes.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from rich.console import Console

from deploy.local.__main__ import DAGS
from deploy.local.api import AirflowApi, DagRun, TaskInstance
from deploy.local.follow import Follower
from include.index.plan import FOLDER as REINDEX
from include.settings import Settings, groups
from include.storage import ArtifactStore
from tests.e2e.conftest import Installation, sample_episodes, start_anew, write_dataset
from tests.e2e.state import State, read_state
from tests.standins.kaggle import KaggleStandIn
from tests.standins.pinecone import PineconeStandIn

pytestmark = pytest.mark.airflow


@dataclass
class Production:
    """An installation with the production profile, and what it talks to."""

    installation: Installation
    kaggle: KaggleStandIn
    pinecone: PineconeStandIn

    @property
    def settings(self) -> Settings:
        """As the installation's processes have them, for a look at what they left behind."""
        return Settings(
            installation=groups.Installation(home=self.installation.home),
            episodes=groups.Episodes(source="kaggle"),
            index=groups.Index(
                backend="pinecone", pinecone_host=self.pinecone.host, pinecone_api_key=self.pinecone.key
            ),
            airflow=groups.Airflow(port=int(self.installation.environment["PODSEARCH_PORT"])),
        )

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.settings.installation.artifacts_root)

    def run(self) -> str:
        """`make run`; what it prints."""
        code, output = self.installation.call("deploy.local", "run")
        assert code == 0, output
        return output

    def state(self) -> State:
        return read_state(self.settings)


@pytest.fixture(scope="module")
def production(productive: Installation, kaggle: KaggleStandIn, pinecone: PineconeStandIn) -> Production:
    """Production before its first run, with a version of the dataset at Kaggle."""
    start_anew(productive, going=DAGS)
    write_dataset(productive.dataset, sample_episodes())
    kaggle.forget()
    kaggle.add_version(productive.dataset)
    return Production(productive, kaggle, pinecone)


@pytest.fixture(scope="module")
def first(production: Production) -> State:
    """The state after the first run."""
    output = production.run()
    assert "Recall@30" in output
    assert "eat better during the holidays" in output, "search answers from Pinecone"
    return production.state()


def test_a_first_run_fills_pinecone(first: State, production: Production) -> None:
    assert (first.pointer.backend, first.pointer.index) == ("pinecone", "podsearch")
    assert first.snapshot.source_version == "listennotes.episodes.v1"
    assert set(first.records) == set(first.vectors)
    assert len(first.records) == first.snapshot.episodes > 100
    assert set(first.pairs["origin"].to_pylist()) == {"doc2query"}
    assert sum(production.pinecone.batches) == len(first.records), "every record was written once"


def test_a_new_version_writes_only_its_difference(first: State, production: Production) -> None:
    kept = sorted(first.records)
    withdrawn, edited, added = kept[0], kept[1], "f" * 32
    episodes = [dict(row) for row in sample_episodes() if row["uuid"] != withdrawn]
    for row in episodes:
        if row["uuid"] == edited:
            row["description"] += " This week we also answer your letters."
    episodes.append({**episodes[0], "uuid": added, "title": "A new one", "description": "Nobody has heard this yet."})
    write_dataset(production.installation.dataset, episodes)
    production.kaggle.add_version(production.installation.dataset)
    production.pinecone.batches.clear()

    production.run()
    after = production.state()
    assert after.pointer.model_version == first.pointer.model_version
    assert set(after.records) == (set(first.records) - {withdrawn}) | {added}
    assert after.records[edited].content_hash != first.records[edited].content_hash
    for key in set(after.records) - {added, edited}:
        assert (after.vectors[key] == first.vectors[key]).all(), "an untouched episode is not written"
    assert sum(production.pinecone.batches) == 2
    plans = [production.store.read_json(REINDEX, name, "plan.json") for name in production.store.names(REINDEX)]
    plan = next(plan for plan in plans if plan["snapshot_id"] == after.snapshot.snapshot_id)
    assert (plan["action"], plan["added"], plan["changed"], plan["removed"]) == ("difference", 1, 1, 1)


def test_a_new_model_fills_a_namespace_beside_the_live_one(first: State, production: Production) -> None:
    """Runs on the version that the test before it brought in: another snapshot, and so another training."""
    before = production.state()
    follow(production, "train_retriever", {"force": True})
    after = production.state()
    assert after.pointer.model_version != before.pointer.model_version
    assert after.pointer.previous is not None
    assert after.pointer.previous.namespace == before.pointer.namespace
    assert set(after.namespaces) == {before.pointer.namespace, after.pointer.namespace}
    assert {metadata.model_version for metadata in after.records.values()} == {after.pointer.model_version}


def test_rollback_goes_back_once_a_person_approves(first: State, production: Production) -> None:
    """Runs on the two models that the test before it left: it goes back to the first, and a new run leaves it there."""
    before = production.state().pointer
    assert before.previous is not None
    api, since = AirflowApi(production.settings), datetime.now(UTC)
    api.wait_until_up(lambda: None)
    run_id = api.trigger("rollback_index")
    wait_for(api, since, run_id, lambda _, task: task.state == "awaiting_input")
    assert production.state().pointer == before, "nothing moves before the answer"
    path = f"/api/v2/dags/rollback_index/dagRuns/{run_id}/taskInstances/approve_rollback/-1/hitlDetails"
    asked = "awaiting_input"
    while wait_for(api, since, run_id, lambda run, task: run.is_finished or task.state == asked).state == asked:
        time.sleep(2)  # as a person would: one who is quicker than the scheduler is asked again
        api._call("PATCH", path, json={"chosen_options": ["Approve"], "params_input": {}})
    after = production.state()
    assert after.pointer.namespace == before.previous.namespace
    assert after.pointer.previous is not None
    assert after.pointer.previous.namespace == before.namespace
    assert {metadata.model_version for metadata in after.records.values()} == {after.pointer.model_version}
    code, output = production.installation.call("include.search", "bread without a factory")
    assert code == 0, output

    production.run()
    assert production.state().pointer.namespace == after.pointer.namespace, "what was gone back from stays refused"


def test_no_key_is_in_any_file(first: State, production: Production) -> None:
    """Logs, rendered templates, XComs and exceptions included: the metadata database is one of the files."""
    files = [file for file in production.installation.home.rglob("*") if file.is_file()]
    assert any(file.suffix == ".db" for file in files)
    for key in (production.kaggle.token, production.pinecone.key):
        assert [file for file in files if key.encode() in file.read_bytes()] == []


def follow(production: Production, dag_id: str, conf: dict[str, object]) -> None:
    """Trigger a DAG, and wait until it and what it starts have succeeded."""
    api = AirflowApi(production.settings)
    api.wait_until_up(lambda: None)
    since = datetime.now(UTC)
    api.trigger(dag_id, conf)
    console = Console(file=io.StringIO())
    logs = production.installation.home / "airflow" / "logs"
    runs = Follower(api, logs, console, since=since).follow(DAGS, lambda: None)
    assert {run.state for run in runs} == {"success"}


def wait_for(
    api: AirflowApi, since: datetime, run_id: str, so: Callable[[DagRun, TaskInstance], bool], *, seconds: float = 180
) -> TaskInstance:
    """The first task of a run of which something is so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run = next(run for run in api.runs(since) if run.run_id == run_id)
        tasks = api.tasks(run)
        if found := next((task for task in tasks if so(run, task)), None):
            return found
        time.sleep(0.5)
    raise AssertionError(f"{run_id} came to nothing: {[(task.task_id, task.state) for task in tasks]}")
