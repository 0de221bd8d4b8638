"""What a person may do to older and going runs in Airflow's pages, on real Airflow: clear, mark, trigger twice, pause.

One installation and one story, told in the order of the tests: neither the catalogue nor search goes back unless that
is asked for.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from deploy.local.__main__ import DAGS
from deploy.local.api import AirflowApi, DagRun, TaskInstance
from include.episodes import snapshot
from include.episodes.ingest import make_snapshot
from include.episodes.sources.directory import DirectorySource
from include.index.lancedb import LanceIndex
from include.index.live import live_entry, require_live
from include.retriever.registry import FOLDER as MODELS
from include.retriever.registry import newest_trained, register, trainings
from include.retriever.training.plan import FOLDER as TRAINING
from include.settings import Settings
from include.storage import ArtifactStore
from tests.e2e.conftest import Installation, ask, sample_episodes, start_anew, tasks_at_work, write_dataset
from tests.include.index.workshop import reindex

pytestmark = pytest.mark.airflow

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
SECONDS = 240
"""The longest that anything is waited for."""
CHECKPOINT = "work/*/checkpoints/checkpoint-*/trainer_state.json"

Groups = list[dict[str, str]]

CLEARED: dict[str, Groups] = {
    "ingest_episodes": [
        {
            "go_back": "skipped",
            "publish_snapshot": "skipped",
            "validate_drift": "success",
            "validate_episodes": "success",
            "validate_raw_episodes": "success",
            "validate_podcasts": "success",
        },
        {"prepare_snapshot": "failed"},  # the source is another by now, and is not taken for what it was
        {"fetch_dataset": "failed"},
        {"check_source": "skipped"},
    ],
    "train_retriever": [
        {
            "register_model": "skipped",
            "fine_tune": "success",
            "round_trip": "success",
            "validate_queries": "success",
            "build_pairs": "success",
            "generate_queries": "success",
        },
        {"plan_training": "skipped"},
    ],
    "reindex_episodes": [
        {"retire": "success", "evaluate_model": "success"},
        {"activate": "skipped"},
        {"publish_report": "skipped"},
        {"verify_index": "skipped"},
        {"delete_withdrawn": "skipped"},
        {"upsert_shard": "skipped"},
        {"encode_shard": "skipped"},
        {"prepare_namespace": "skipped"},
        {"approve_deletions": "skipped"},
        {"plan_reindex": "skipped"},
        {"gate": "skipped"},
        {"plan_comparison": "skipped"},
    ],
    "rollback_index": [
        {"roll_back": "failed"},  # a person has ordered it, and must hear that it was not done
        {"approve_rollback": "success"},
        {"plan_rollback": "success"},
    ],
    "watch_search": [
        {
            "check_freshness": "success",
            "retry_alerts": "success",
            "check_lag": "success",
            "check_search": "success",
            "check_listening": "success",
        }
    ],
}
"""What becomes of each task that is cleared in an older run, those of a group together; what follows it is not cleared.

The last come first, for what a task had told the others is gone once it is cleared; and no task is in a group with one
that it follows and that does not succeed, for Airflow would skip it unasked.
"""

OVERTAKEN = {
    "ingest_episodes": {"publish_snapshot"},
    "train_retriever": {"register_model"},
    "reindex_episodes": {task for group in CLEARED["reindex_episodes"] for task in group if group[task] == "skipped"}
    - {"plan_comparison"},
}
"""Tasks whose log says that a newer run has overtaken theirs."""


class Person(AirflowApi):
    """The API with what a person does in Airflow's pages, and the database for what is waited for."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.home = settings.installation.home

    def clear(self, run: DagRun, *task_ids: str, downstream: bool = False) -> None:
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run.run_id, "include_downstream": downstream}
        self._call("POST", f"/api/v2/dags/{run.dag_id}/clearTaskInstances", json=body | {"task_ids": list(task_ids)})

    def mark_task(self, run: DagRun, task_id: str, state: str) -> None:
        path = f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}"
        self._call("PATCH", path, json={"new_state": state})

    def mark_run(self, run: DagRun, state: str) -> None:
        self._call("PATCH", f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}", json={"state": state})

    def answered(self, run: DagRun, task_id: str, option: str) -> bool:
        """Answer what a task asks, if it does by now; whether it has gone on."""
        if self.only(run, task_id).state == "awaiting_input":
            time.sleep(2)  # as a person would: one who is quicker than the scheduler is asked again
            path = f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}/-1/hitlDetails"
            self._call("PATCH", path, json={"chosen_options": [option]})
        return self.only(run, task_id).state == "success"

    def pause(self, dag_id: str) -> None:
        self._call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": True})

    def backfill(self, dag_id: str, day: datetime) -> None:
        """Order the run of a day that has passed."""
        until = day + timedelta(days=1)
        body = {"dag_id": dag_id, "from_date": day.isoformat(), "to_date": until.isoformat()}
        self._call("POST", "/api/v2/backfills", json=body)

    def is_due(self, dag_id: str) -> bool:
        """Whether the schedule has a run to start."""
        dag = self._call("GET", f"/api/v2/dags/{dag_id}")
        return datetime.fromisoformat(dag["next_dagrun_run_after"]) <= datetime.now(UTC)

    def parse(self, dag_id: str) -> None:
        """Have a DAG read again now, and not in its turn."""
        self._request("PUT", f"/api/v2/parseDagFile/{self._call('GET', f'/api/v2/dags/{dag_id}')['file_token']}")

    def of(self, dag_id: str) -> list[DagRun]:
        """The runs of a DAG, the oldest first."""
        return [run for run in self.runs(EPOCH) if run.dag_id == dag_id]

    def only(self, run: DagRun, task_id: str) -> TaskInstance:
        (task,) = [task for task in self.tasks(run) if task.task_id == task_id]
        return task

    def states(self, run: DagRun) -> dict[str, str | None]:
        """The state of each task; those of the copies of a mapped one must be the same."""
        states: dict[str, str | None] = {}
        for task in self.tasks(run):
            assert states.setdefault(task.task_id, task.state) == task.state, task
        return states

    def trigger_run(self, dag_id: str, params: dict[str, object] | None = None) -> DagRun:
        run_id = self.trigger(dag_id, params)
        return next(run for run in self.of(dag_id) if run.run_id == run_id)

    def unfinished(self) -> set[tuple[str, str]]:
        """DAG and id of each run that goes on."""
        rows = ask(self.home, "SELECT dag_id, run_id FROM dag_run WHERE state NOT IN ('success', 'failed')")
        return {(dag_id, run_id) for dag_id, run_id in rows}

    def is_finished(self, run: DagRun) -> bool:
        return (run.dag_id, run.run_id) not in self.unfinished()

    def rest(self, *dag_ids: str) -> None:
        """Wait until no run of some DAGs goes on, and no asset event waits to start one."""
        query = """
            SELECT dag_id FROM dag_run WHERE state NOT IN ('success', 'failed')
            UNION SELECT target_dag_id FROM asset_dag_run_queue
        """

        def at_rest() -> bool:
            return not {dag_id for (dag_id,) in ask(self.home, query)} & set(dag_ids)

        until(at_rest)


def until(done: Callable[[], bool], seconds: float = SECONDS, *, every: float = 1) -> None:
    """Wait for something, looking again after so many seconds: each look at Airflow's API is work for it."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"{done.__qualname__} after {seconds} s"
        time.sleep(every)


@dataclass
class Story:
    """An installation in which everything ran once, and the runs that did."""

    installation: Installation
    person: Person
    runs: dict[str, DagRun]
    """The run of each DAG, which newer ones overtake."""
    second: DagRun
    """The run of ingest_episodes that was triggered in the same moment."""
    registered_while_failed: list[str]
    """The trainings whose models were registered when a person had marked the training as failed."""

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.installation.settings.installation.artifacts_root)

    @property
    def state(self) -> tuple[object, ...]:
        """What must not go back: the catalogue, the newest model, what is live and what it holds, what was decided."""
        live, index = require_live(self.store), LanceIndex(self.installation.settings.index_root)
        return (
            snapshot.latest_entry(self.store),
            trainings(self.store),
            live_entry(live),
            sorted(index.list_ids(live.namespace)),
            self.store.names("decisions"),
        )

    def folder(self, *parts: str) -> Path:
        """A folder of the store."""
        return Path(str(self.store.path(*parts)))

    def log_of(self, run: DagRun, task_id: str) -> str:
        """What the tries of a task have written."""
        folder = self.installation.home / "airflow" / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
        return "".join(file.read_text() for file in sorted(folder.glob(f"task_id={task_id}/**/*.log")))

    def works(self, task: TaskInstance) -> bool:
        """Whether a process works on a task."""
        return task.id in dict(tasks_at_work(self.installation))

    def hold(self, task: TaskInstance) -> psutil.Process:
        """Wait for the process of a task and stop it (SIGSTOP), so that it is in the middle however quick it is."""
        deadline = time.monotonic() + SECONDS
        while (process := dict(tasks_at_work(self.installation)).get(task.id)) is None:
            assert time.monotonic() < deadline, f"{task.task_id} did not begin in {SECONDS} s"
            time.sleep(0.02)
        process.suspend()
        return process

    def change_dataset(self, episodes: int) -> None:
        write_dataset(self.installation.dataset, sample_episodes()[:episodes])

    def publish(self) -> None:
        """Do what ingest_episodes does with the dataset."""
        settings = self.installation.settings
        source = DirectorySource(settings.episodes.required_dataset_dir)
        version = source.latest_version()
        manifest = make_snapshot(
            self.store,
            source.fetch(version),
            source_version=version,
            unchanged=lambda: source.fetch(version),
            work_root=settings.installation.work_root,
            shards=1,
            threads=1,
            max_file_bytes=settings.episodes.max_file_bytes,
        )
        snapshot.publish(self.store, manifest.snapshot_id, source_version=version)

    def go_live(self, model: str, folder: Path) -> None:
        """Do what train_retriever and reindex_episodes do: register a model, if it is new, and index with it.

        It has the pairs and the weights of the one that was trained, and vectors that have nothing to do with them.
        """
        trained = newest_trained(self.store)
        assert trained is not None
        if not self.store.is_complete(MODELS, model):
            shutil.copytree(self.folder(MODELS, trained.version), folder / model)
            shutil.copytree(self.folder(TRAINING, trained.training_id or ""), self.folder(TRAINING, model))
            changes = {"version": model, "training_id": model, "registered_at": datetime.now(UTC)}
            register(self.store, folder / model, trained.model_copy(update=changes))
        reindex(self.store, LanceIndex(self.installation.settings.index_root), model, trained.dimension)


@pytest.fixture(scope="module")
def installation(telling: Installation) -> Installation:
    """Airflow in which nothing has run: this file is the first of those that share it."""
    start_anew(telling, going=DAGS)
    return telling


@pytest.fixture(scope="module")
def story(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Version 1 of the source was ingested, trained on and indexed, and went live again by a rollback; then come a
    version 2, and another model that is live on it."""
    write_dataset(installation.dataset, sample_episodes()[:60])
    person = Person(installation.settings)
    person.wait_until_up(lambda: None)
    first, second = (person.trigger_run("ingest_episodes") for _ in range(2))

    until(lambda: any(installation.home.glob(CHECKPOINT)), every=0.2)
    (training,) = person.of("train_retriever")
    fine_tune = person.only(training, "fine_tune")
    person.mark_task(training, "fine_tune", "failed")
    until(lambda: fine_tune.id not in dict(tasks_at_work(installation)), 30)
    until(lambda: person.is_finished(training))
    registered = trainings(ArtifactStore(installation.settings.installation.artifacts_root))
    person.clear(training, "fine_tune", downstream=True)
    person.rest(*CLEARED)

    (worked,) = [run for run in person.of("reindex_episodes") if person.states(run)["retire"] == "success"]
    runs = {"ingest_episodes": first, "train_retriever": training, "reindex_episodes": worked}
    story = Story(installation, person, runs, second, registered)
    folder = tmp_path_factory.mktemp("models")
    trained = require_live(story.store).model_version
    story.go_live("second", folder)
    for dag_id in ("rollback_index", "watch_search"):
        runs[dag_id] = person.trigger_run(dag_id)
    until(lambda: person.answered(runs["rollback_index"], "approve_rollback", "Approve"))
    person.rest(*CLEARED)
    assert person.states(runs["rollback_index"])["roll_back"] == "success"

    story.change_dataset(62)
    story.publish()
    story.go_live(trained, folder)
    story.go_live("third", folder)
    return story


def test_a_run_that_is_triggered_twice_works_once(story: Story) -> None:
    assert story.person.states(story.runs["ingest_episodes"])["publish_snapshot"] == "success"
    states = story.person.states(story.second)
    assert (states["check_source"], states["publish_snapshot"]) == ("skipped", "skipped")
    assert "Nothing new" in story.log_of(story.second, "check_source")
    assert len(story.person.of("train_retriever")) == 1


def test_a_task_that_is_marked_failed_ends_and_goes_on_when_it_is_cleared(story: Story) -> None:
    training = story.runs["train_retriever"]
    assert story.registered_while_failed == []
    assert story.person.only(training, "fine_tune").try_number == 2
    assert "Resuming from checkpoint" in story.log_of(training, "fine_tune"), "it was ended in the middle"
    assert story.person.states(training)["register_model"] == "success"


def test_no_task_of_an_older_run_takes_anything_back(story: Story) -> None:
    person, before = story.person, story.state
    everything = {dag_id: len(person.of(dag_id)) for dag_id in CLEARED if dag_id != "watch_search"}
    left = {dag_id: list(groups) for dag_id, groups in CLEARED.items()}
    going: dict[str, dict[str, str]] = {}
    became: dict[str, Groups] = {dag_id: [] for dag_id in CLEARED}

    def clear_on() -> bool:
        """Clear the next tasks of each DAG whose last ones have ended."""
        unfinished = person.unfinished()
        for dag_id, run in story.runs.items():
            if dag_id in going and (dag_id, run.run_id) not in unfinished:
                states, tasks = person.states(run), going.pop(dag_id)
                became[dag_id].append({task: str(states[task]) for task in tasks})
                assert story.state == before, (dag_id, tasks)
            if dag_id not in going and left[dag_id]:
                going[dag_id] = left[dag_id].pop(0)
                person.clear(run, *going[dag_id])
        if "rollback_index" in going:
            person.answered(story.runs["rollback_index"], "approve_rollback", "Reject")
        return not going

    until(clear_on)
    assert became == CLEARED
    for dag_id, tasks in OVERTAKEN.items():
        logs = {task: story.log_of(story.runs[dag_id], task) for task in tasks}
        assert {task for task, log in logs.items() if "A newer run has overtaken this one" in log} == tasks
    person.rest(*CLEARED)
    assert {dag_id: len(person.of(dag_id)) for dag_id in everything} == everything, "nothing was announced"


def test_a_run_that_is_marked_as_success_halfway_publishes_nothing(story: Story) -> None:
    person, before = story.person, story.state
    person.pause("reindex_episodes")  # until the last test: what is published meanwhile starts nothing
    story.change_dataset(63)
    run = person.trigger_run("ingest_episodes")
    validation = person.only(run, "validate_raw_episodes")
    process = story.hold(validation)
    person.mark_run(run, "success")
    process.resume()
    until(lambda: not story.works(validation), 30)
    states = person.states(run)
    assert (states["validate_raw_episodes"], states["prepare_snapshot"]) == ("success", "skipped")
    person.clear(run, "publish_snapshot")
    until(lambda: person.is_finished(run))
    assert person.states(run)["publish_snapshot"] == "skipped", "as what it follows was"
    assert story.state == before


def test_a_dag_that_was_paused_for_a_month_runs_once_and_ingests_what_there_is_today(story: Story) -> None:
    """Its last run that was not triggered is of a month ago, and was left waiting when the DAG was paused."""
    person, known = story.person, {run.run_id for run in story.person.of("ingest_episodes")}
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    person.pause("ingest_episodes")
    person.backfill("ingest_episodes", today - timedelta(days=30))
    person.parse("ingest_episodes")
    until(lambda: person.is_due("ingest_episodes"))
    person.unpause("ingest_episodes")
    until(lambda: not person.is_due("ingest_episodes"))
    person.rest("ingest_episodes", "train_retriever")
    new = [run for run in person.of("ingest_episodes") if run.run_id not in known]
    assert sorted(run.run_id.partition("__")[0] for run in new) == ["backfill", "scheduled"]
    assert {run.state for run in new} == {"success"}
    latest = snapshot.latest(story.store)
    assert latest is not None
    assert latest.source_version == DirectorySource(story.installation.dataset).latest_version()


def test_going_back_on_purpose_takes_search_back_and_the_next_run_leaves_it(story: Story) -> None:
    person, older = story.person, snapshot.publications(story.store)[0].snapshot_id
    person.unpause("reindex_episodes")
    person.trigger("ingest_episodes", {"go_back_to": older})
    person.trigger("ingest_episodes")
    person.rest(*CLEARED)
    latest, live = snapshot.latest(story.store), require_live(story.store)
    assert latest is not None
    assert (latest.snapshot_id, live.snapshot_id) == (older, older)
