"""Questions to a person, as Airflow asks them: parked, answered, gone on with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.alerts.book import FaultBook
from include.evaluation.comparison import ModelComparison, load_decision
from include.evaluation.gate import Overruling
from include.evaluation.metrics import summarise
from include.evaluation.publish import approved_by
from include.evaluation.run import EvaluationPlan
from include.index.approval import approver
from include.index.lancedb import LanceIndex
from include.index.live import LivePointer, require_live
from include.index.plan import namespace_of, plan_reindex
from include.settings import PROJECT
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.evaluation.results import results_at
from tests.include.index.workshop import register, reindex
from tests.operators.conftest import installed

pytestmark = pytest.mark.airflow

ASKING = """
from airflow.sdk import DAG
from include.index.live import live_entry, read_live
from include.settings import get_settings
from include.storage import ArtifactStore
from operators.approval import ApproveDeletionsOperator
from operators.base import PodsearchOperator

class Write(PodsearchOperator):
    def execute(self, context):
        self.store.write_json(True, "written.json")

live = live_entry(read_live(ArtifactStore(get_settings().installation.artifacts_root)))

with DAG("asking", schedule=None, params={"plan_id": "none"}):
    ask = ApproveDeletionsOperator(task_id="approve_deletions", plan_id="{{ params.plan_id }}", live=live)
    ask >> Write(task_id="write") >> Write(task_id="after")
"""
"""The one task that asks in reindex_episodes, with what writes put in the place of all that follows it there."""

GATING = """
from airflow.sdk import DAG, Param
from include.index.live import live_entry, read_live
from include.settings import get_settings
from include.storage import ArtifactStore
from operators.comparison import GateOperator

params = {
    "comparison_id": "none",
    "overrule_gate": Param(None, type=["null", "string"]),
    "overrule_reason": "",
}
live = live_entry(read_live(ArtifactStore(get_settings().installation.artifacts_root)))

with DAG("gating", schedule=None, params=params):
    GateOperator(task_id="gate", comparison_id="{{ params.comparison_id }}", live=live)
"""


@dataclass
class Asked:
    """An installation in which questions were asked, and what became of the runs that asked them."""

    store: ArtifactStore
    live: LivePointer
    """What was live before."""
    plan_id: str
    unsure: str
    """A comparison of too few queries; of the others, the candidate has lost the one and won the other."""
    lost: str
    sure: str
    gates: list[dict[str, Any]]
    deletions: list[dict[str, Any]]
    rollbacks: list[dict[str, Any]]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """All questions, asked by one process: its start takes longer than all that it does.

    m1 was live, m2 is, and a third of the episodes are withdrawn since. What is live changes last, for the others would
    be overtaken.
    """
    folder = tmp_path_factory.mktemp("asked")
    with installed(folder) as installation:
        store, index = installation.store, LanceIndex(installation.settings.index_root)
        publish(store, [episode(number) for number in range(30)])
        for age, version in ((2, "m1"), (1, "m2")):
            register(store, version, age=age)
            reindex(store, index, version)
        publish(store, [episode(number, title="{{ 1 / 0 }}") for number in range(20)])
        live = require_live(store)
        plan_id = plan_reindex(store, model_version="m2", live=live).plan_id
        unsure = compare(store, "unsure", results_at([1] * 20), results_at([2] * 20))
        lost = compare(store, "lost", results_at([90] * 20), results_at([1] * 20))
        sure = compare(store, "sure", results_at([1] * 500), results_at([2] * 500))
        deletions = {"dag_id": "asking", "conf": {"plan_id": plan_id}}
        rollback = {"dag_id": "rollback_index"}
        gate, overruling = {"dag_id": "gating", "conf": {"comparison_id": unsure}}, {"comparison_id": lost}
        results = run(
            folder,
            gate | {"answer": "Refuse", "reason": "not before the holidays"},
            gate | {"answer": None},
            gate | {"answer": "Accept", "reason": "looks better"},
            gate | {"conf": overruling | {"overrule_gate": "accept", "overrule_reason": "the queries are wrong"}},
            gate | {"conf": {"comparison_id": sure, "overrule_gate": None}},
            gate | {"conf": overruling | {"overrule_gate": "refuse", "overrule_reason": ""}},
            deletions | {"answer": "Reject"},
            deletions | {"answer": None},
            deletions | {"answer": "Approve"},
            rollback | {"answer": "Reject"},
            rollback | {"answer": "Approve"},
            rollback | {"answer": "Approve"},
        )
        yield Asked(store, live, plan_id, unsure, lost, sure, results[:6], results[6:9], results[9:])


def run(folder: Path, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Run DAGs in turn, each with an answer to what it asks."""
    dags = folder / "dags"
    dags.mkdir()
    (dags / "asking.py").write_text(ASKING)
    (dags / "gating.py").write_text(GATING)
    shutil.copy(PROJECT / "dags" / "rollback_index.py", dags)
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "PODSEARCH_GATE_RULE": "strict",
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.operators.answering", json.dumps(requests)],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    results: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return results


def test_questions_wait_and_their_answers_are_followed(asked: Asked) -> None:
    store = asked.store
    rejected, ignored, approved = asked.deletions
    stayed, went_back, went_forward = asked.rollbacks
    skipped = {"approve_deletions": "success", "write": "skipped", "after": "skipped"}
    assert rejected["subject"] == "Delete 10 of 30 episodes (33.3 %) from search?"
    assert (rejected["run"], rejected["tasks"]) == ("success", skipped)
    assert rejected["until"] is True, "a question that nobody answers does not hold up later runs for ever"
    assert ignored["tasks"] == skipped
    assert set(approved["tasks"].values()) == {"success"}
    assert store.exists("written.json")
    assert approver(store, asked.plan_id) == "Ada"

    assert stayed["tasks"] == {"plan_rollback": "success", "approve_rollback": "success", "roll_back": "skipped"}
    assert set(went_back["tasks"].values()) == {"success"}
    assert stayed["body"] == went_back["body"], "what was rejected can be asked again"
    assert (went_back["subject"], went_forward["subject"]) == ("Go back to m1?", "Go back to m2?")
    pointer = require_live(store)
    assert (pointer.namespace, pointer.snapshot_id, pointer.refused) == (
        namespace_of("m2"),
        asked.live.snapshot_id,
        ["m1"],
    )
    told = [fault.alert.headline for fault in FaultBook(store).all()]
    assert told == ["Search was rolled back to m2, as approved by Ada"], "of the questions, all were answered"


def test_a_person_decides_where_the_gate_cannot_or_in_its_place(asked: Asked) -> None:
    store, comparisons = asked.store, (asked.unsure, asked.lost, asked.sure)
    refused, ignored, accepted, overruled, passed, unexplained = asked.gates
    assert refused["subject"] == "Accept the new model m-unsure?"
    assert "too few queries to be sure" in refused["body"]
    assert refused["fields"] == ["reason"]
    assert [one["run"] for one in (refused, ignored, accepted, overruled, passed)] == ["success"] * 5
    assert "subject" not in passed, "there were queries enough"
    assert unexplained["run"] == "failed"

    decisions = [load_decision(store, comparison) for comparison in comparisons]
    assert [decision.passed for decision in decisions if decision] == [True, True, True]
    kept = [decision.overruled for decision in decisions if decision]
    assert kept[0] == Overruling(verdict="accept", reason="looks better", by="Ada")
    assert kept[1] is not None
    assert (kept[1].verdict, kept[1].reason) == ("accept", "the queries are wrong")
    assert kept[2] is None
    by = [approved_by(store, comparison_id=comparison, plan_id="none") for comparison in comparisons]
    assert by == ["Ada", "dag_test", None], "who answered, who triggered the run, and nobody"


def compare(store: ArtifactStore, name: str, candidate: pa.Table, incumbent: pa.Table) -> str:
    """A comparison whose models have been measured, candidate against the base model."""
    plan = EvaluationPlan(
        evaluation_id=f"e-{name}",
        snapshot_id="s",
        training_id=None,
        catalogue=1,
        test_queries=len(candidate),
        curated_queries=0,
        curated_left_out=0,
        seed=0,
    )
    store.write_json(plan.model_dump(), "evaluations", plan.evaluation_id, "manifest.json")
    for version, table in ((f"m-{name}", candidate), ("base", incumbent)):
        summary = summarise(table, model_version=version, catalogue=1)
        folder = ("evaluations", plan.evaluation_id, version)
        store.write_table(table, *folder, "test.parquet")
        store.write_json({"evaluations": [summary.model_dump()]}, *folder, "manifest.json")
    comparison = ModelComparison(
        comparison_id=f"c-{name}", evaluation_id=plan.evaluation_id, base="base", live=None, candidate=f"m-{name}"
    )
    store.write_json(comparison.model_dump(), "comparisons", comparison.comparison_id, "comparison.json")
    return comparison.comparison_id
