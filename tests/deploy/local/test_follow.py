from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.local.api import AirflowApi, DagRun
from deploy.local.follow import Follower
from include.settings import Settings
from tests.deploy.local.conftest import Terminal
from tests.standins.airflow_api import DISCONNECT, AirflowStandIn, Moment, task

DAGS = ["ingest_episodes", "train_retriever"]
INGEST, TRAIN = ("ingest_episodes", "r1"), ("train_retriever", "r2")


@pytest.fixture
def follower(settings: Settings, terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Follower:
    monkeypatch.setattr("deploy.local.follow.POLL_SECONDS", 0.001)
    monkeypatch.setattr("deploy.local.follow.QUIET_POLL_SECONDS", 0.001)
    monkeypatch.setattr("deploy.local.api.BACKOFF_SECONDS", 0.001)
    api = AirflowApi(settings)
    api.wait_until_up(lambda: None)
    return Follower(api, tmp_path / "logs", terminal.console, since=datetime.now(UTC))


def follow(follower: Follower, check: Any = lambda: None) -> list[DagRun]:
    return follower.follow(DAGS, check)


def write_log(
    logs: Path, key: tuple[str, str], name: str, entries: list[Any], *, index: int = -1, attempt: int = 1
) -> None:
    """A log as Airflow writes it: a JSON object a line."""
    folder = logs / f"dag_id={key[0]}" / f"run_id={key[1]}" / f"task_id={name}"
    folder = folder / f"map_index={index}" if index >= 0 else folder
    folder.mkdir(parents=True, exist_ok=True)
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    (folder / f"attempt={attempt}.log").write_text("\n".join(lines) + "\n")


def test_each_change_is_shown_once(follower: Follower, airflow_standin: AirflowStandIn, terminal: Terminal) -> None:
    def moment(state: str, *tasks: dict[str, Any]) -> Moment:
        return Moment(runs={INGEST: state}, tasks={INGEST: list(tasks)})

    airflow_standin.moments = [
        moment("queued", task("check_source", None)),
        moment("running", task("check_source", "scheduled")),
        moment("running", task("check_source", "running")),
        moment("running", task("check_source", "running")),
        moment("running", task("check_source", "up_for_retry")),
        moment("running", task("check_source", "running", try_number=2)),
        moment("running", task("check_source", "success", try_number=2, duration=12.34)),
        moment("success", task("check_source", "success", try_number=2, duration=12.34)),
    ]
    runs = follow(follower)

    assert [(run.dag_id, run.state) for run in runs] == [("ingest_episodes", "success")]
    assert terminal.lines == [
        "▶ ingest_episodes",
        "  … ingest_episodes · check_source running",
        "  ↻ ingest_episodes · check_source up_for_retry",
        "  … ingest_episodes · check_source running",
        "  ✓ ingest_episodes · check_source success  12.3 s",
    ]


def test_runs_that_assets_start_are_followed_to_their_end(
    follower: Follower, airflow_standin: AirflowStandIn, terminal: Terminal
) -> None:
    done = {INGEST: "success"}
    airflow_standin.moments = [
        Moment(runs={INGEST: "running"}),
        # More looks than the follower waits when all is quiet: only the waiting event keeps it.
        *[Moment(runs=done, queued={"train_retriever"})] * 8,
        Moment(runs=done | {TRAIN: "queued"}),
        *[Moment(runs=done | {TRAIN: "running"}, tasks={TRAIN: [task("fine_tune", "running")]})] * 8,
        Moment(runs=done | {TRAIN: "success"}, tasks={TRAIN: [task("fine_tune", "success")]}),
    ]
    runs = follow(follower)
    assert [(run.dag_id, run.state) for run in runs] == [("ingest_episodes", "success"), ("train_retriever", "success")]
    assert "  ✓ train_retriever · fine_tune success  1.5 s" in terminal.lines


def test_a_run_between_an_event_and_its_start_is_not_missed(
    follower: Follower, airflow_standin: AirflowStandIn
) -> None:
    """For a moment there is neither a waiting event nor a run."""
    done = {INGEST: "success"}
    airflow_standin.moments = [
        Moment(runs=done),
        Moment(runs=done),
        Moment(runs=done | {TRAIN: "running"}),
        Moment(runs=done | {TRAIN: "failed"}),
    ]
    assert [run.state for run in follow(follower)] == ["success", "failed"]


def test_a_server_that_falters_does_not_end_it(follower: Follower, airflow_standin: AirflowStandIn) -> None:
    airflow_standin.moments = [Moment(runs={INGEST: "running"}), Moment(runs={INGEST: "success"})]
    airflow_standin.faults = [200, 500, DISCONNECT, 401, 200, 503]
    assert [run.state for run in follow(follower)] == ["success"]


def test_following_ends_when_a_component_has_ended(follower: Follower, airflow_standin: AirflowStandIn) -> None:
    airflow_standin.moments = [Moment(runs={INGEST: "running"})]
    left = [None, None]

    def check() -> None:
        if not left:
            raise RuntimeError("the scheduler ended")
        left.pop()

    with pytest.raises(RuntimeError, match="the scheduler ended"):
        follow(follower, check)


def test_a_skipped_task_says_why_and_those_skipped_with_it_say_nothing(
    follower: Follower, airflow_standin: AirflowStandIn, terminal: Terminal, tmp_path: Path
) -> None:
    write_log(tmp_path / "logs", INGEST, "check_source", [{"event": "Nothing new [red]."}, {"event": "Skipping task."}])
    tasks = [task("check_source", "skipped"), task("prepare_snapshot", "skipped", duration=None)]
    airflow_standin.moments = [Moment(runs={INGEST: "success"}, tasks={INGEST: tasks})]
    follow(follower)
    assert terminal.lines == [
        "▶ ingest_episodes",
        "  – ingest_episodes · check_source skipped",
        "      Nothing new [red].",
    ]


def test_a_run_that_waits_for_a_person_says_so_and_where_to_answer(
    follower: Follower, airflow_standin: AirflowStandIn, terminal: Terminal, settings: Settings
) -> None:
    """Else it would look as if it hung."""

    def moment(state: str, run: str = "running") -> Moment:
        return Moment(runs={INGEST: run}, tasks={INGEST: [task("approve_deletions", state)]})

    airflow_standin.moments = [*[moment("awaiting_input")] * 3, moment("running"), moment("success", "success")]
    assert [run.state for run in follow(follower)] == ["success"]
    page = (
        f"http://{settings.airflow.host}:{settings.airflow.port}/dags/ingest_episodes/runs/r1/tasks/approve_deletions"
    )
    assert terminal.lines == [
        "▶ ingest_episodes",
        "  ? ingest_episodes · approve_deletions awaiting_input",
        "      It is waiting for you: approve or reject it, and the run continues.",
        f"      {page}/required_actions",
        "      log in as admin with the password secret",
        "  … ingest_episodes · approve_deletions running",
        "  ✓ ingest_episodes · approve_deletions success  1.5 s",
    ]


def test_a_long_task_says_now_and_then_what_it_does(
    follower: Follower,
    airflow_standin: AirflowStandIn,
    terminal: Terminal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deploy.local.follow.NEWS_SECONDS", 0)
    write_log(tmp_path / "logs", TRAIN, "fine_tune", [{"event": "step 1"}, {"event": "step 2 of [/] 9"}])
    airflow_standin.moments = [
        *[Moment(runs={TRAIN: "running"}, tasks={TRAIN: [task("fine_tune", "running")]})] * 5,
        Moment(runs={TRAIN: "success"}, tasks={TRAIN: [task("fine_tune", "success")]}),
    ]
    follow(follower)
    assert terminal.lines.count("      fine_tune: step 2 of [/] 9") == 1


def test_the_end_of_a_failed_tasks_log_is_readable(
    follower: Follower, airflow_standin: AirflowStandIn, tmp_path: Path
) -> None:
    frames = [{"filename": f"file{n}.py", "lineno": n, "name": f"call{n}"} for n in range(6)]
    error = {
        "event": "Task failed with exception",
        "error_detail": [{"exc_type": "DatasetError", "exc_value": "[bold]no file[/bold]", "frames": frames}],
    }
    entries = [{"event": "::group::Log"}, {"event": "Reading."}, "not JSON", '{"cut off', error]
    write_log(tmp_path / "logs", INGEST, "prepare", [{"event": "an earlier try"}], index=2)
    write_log(tmp_path / "logs", INGEST, "prepare", entries, index=2, attempt=2)
    tasks = [
        task("prepare", "failed", map_index=2, try_number=2),
        task("publish", "upstream_failed"),
        task("check", "success"),
    ]
    airflow_standin.moments = [Moment(runs={INGEST: "failed", TRAIN: "success"}, tasks={INGEST: tasks})]

    (failed,) = follower.failures(follow(follower))

    assert failed.label == "prepare [2]"
    assert follower.log_lines(failed, 30) == [
        "Reading.",
        "not JSON",
        '{"cut off',
        "Task failed with exception",
        *(f'  File "file{n}.py", line {n}, in call{n}' for n in (2, 3, 4, 5)),
        "DatasetError: [bold]no file[/bold]",
    ]
    assert follower.log_lines(failed, 1) == ["DatasetError: [bold]no file[/bold]"]


def test_a_task_that_never_wrote_a_log_has_none(follower: Follower, airflow_standin: AirflowStandIn) -> None:
    airflow_standin.moments = [Moment(runs={INGEST: "failed"}, tasks={INGEST: [task("prepare", "failed")]})]
    (failed,) = follower.failures(follow(follower))
    assert follower.log_lines(failed, 30) == []
