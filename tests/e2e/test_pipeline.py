"""The whole pipeline on real Airflow: LocalExecutor, SQLite, real processes, as `make run` and `make up` start it."""

from __future__ import annotations

import json
import re
import signal
import time

import psutil
import pytest

from deploy.local.__main__ import DAGS
from include.episodes import snapshot
from include.storage import ArtifactStore
from tests.e2e.conftest import Installation, Killer, sample_episodes, start_anew, write_dataset
from tests.e2e.state import State, assert_same, read_state

pytestmark = pytest.mark.airflow

KILLED: dict[str, float | str] = {
    "prepare_snapshot": 0.05,
    "generate_queries": 0.4,
    "fine_tune": "work/*/checkpoints/checkpoint-*/trainer_state.json",
    "evaluate_model": 0.4,
    "encode_shard": 0.1,
    "upsert_shard": "artifacts/index/*.lance/data/*.lance",
}
"""When a task is killed: after seconds, in which it works on this small catalogue, or when such a file is there."""


def test_a_first_run_ends_with_a_verified_index_of_the_trained_model(first_run: tuple[str, State]) -> None:
    output, state = first_run
    assert "-tuned-" in state.pointer.model_version
    assert set(state.records) == set(state.vectors)
    assert len(state.records) == state.snapshot.episodes > 100
    assert {metadata.model_version for metadata in state.records.values()} == {state.pointer.model_version}
    assert state.namespaces == [state.pointer.namespace], "nothing was indexed with a model that training replaces"
    assert set(state.pairs["origin"].to_pylist()) == {"doc2query"}
    for part in ("Ingested", "quarantined", "Trained", "Recall@30", "Gate", "Report", "eat better during the holidays"):
        assert part in output


def test_the_report_is_one_page_with_the_figures(first_run: tuple[str, State], undisturbed: Installation) -> None:
    _, state = first_run
    store = ArtifactStore(undisturbed.settings.installation.artifacts_root)
    assert state.pointer.report is not None
    page = store.read_bytes(state.pointer.report).decode()
    assert state.pointer.model_version in page
    assert "Recall@30" in page
    assert not re.search(r"""(?:src|href)=["']https?:""", page), "the report loads nothing from the network"


def test_search_answers_in_the_terminal(first_run: tuple[str, State], undisturbed: Installation) -> None:
    code, output = undisturbed.call("include.search", "bread without a factory")
    assert code == 0, output
    assert len(re.findall(r"\d{4}-\d{2}-\d{2}", output)) >= 5, "results come with their dates"


def test_a_second_run_finds_nothing_new(first_run: tuple[str, State], undisturbed: Installation) -> None:
    code, output = undisturbed.call("deploy.local", "run")
    assert code == 0, output
    assert "Nothing new" in output
    assert "fine_tune" not in output
    assert_same(first_run[1], read_state(undisturbed.settings))


def test_a_killed_run_ends_in_the_same_state(first_run: tuple[str, State], undisturbed: Installation) -> None:
    start_anew(undisturbed, going=DAGS)
    killer = Killer(undisturbed, KILLED)
    killer.start()
    code, output = undisturbed.call("deploy.local", "run")
    killer.stopped.set()
    assert code == 0, output
    assert killer.killed == set(KILLED), "every stage was killed once"
    retried = (undisturbed.home / "airflow" / "logs").glob("**/task_id=fine_tune/attempt=2.log")
    assert any("Resuming from checkpoint" in log.read_text() for log in retried), "training was killed in the middle"
    assert_same(first_run[1], read_state(undisturbed.settings))


def test_bad_data_stops_before_anything_is_published(first_run: tuple[str, State], undisturbed: Installation) -> None:
    store = ArtifactStore(undisturbed.settings.installation.artifacts_root)
    before = snapshot.latest(store)
    (undisturbed.dataset / "episodes.csv").write_text("<!doctype html><html><body>Log in to go on</body></html>")
    code, output = undisturbed.call("deploy.local", "run")
    assert code == 1
    assert "HTML" in output, "the end of the failed task's log is shown"
    assert "up_for_retry" not in output, "the same file would fail again"
    assert snapshot.latest(store) == before
    assert before is not None
    assert read_state(undisturbed.settings).pointer.snapshot_id == before.snapshot_id
    write_dataset(undisturbed.dataset, sample_episodes())


def test_an_interrupted_run_stops_what_it_started(fresh: Installation) -> None:
    process = fresh.start("deploy.local", "run")
    state_file = fresh.home / "airflow" / "processes.json"
    deadline = time.monotonic() + 120
    pids: list[int] = []
    while len(pids) < 4 and time.monotonic() < deadline:
        time.sleep(0.2)
        if state_file.exists():
            pids = [component["pid"] for component in json.loads(state_file.read_text())["components"].values()]
    assert len(pids) == 4
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=90)
    # Python ends by the signal itself when it fell into an eval(), as imports have; a shell calls both 130.
    assert process.returncode in (130, -signal.SIGINT), output
    assert "Interrupted" in output
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
