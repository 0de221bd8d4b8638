"""What tests of alerts share: contexts of callbacks, results of validations, and the faults that are kept."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.execution_time.context import set_current_context

from include.alerts.book import Fault, FaultBook
from include.index.live import LivePointer
from include.index.rollback import Rollback
from include.quality.result import ExpectationResult, QualityResult
from operators.base import PodsearchOperator
from tests.operators.conftest import Installation

RUN = "scheduled__2026-03-01T02:00:00+00:00"


def faults(installation: Installation) -> list[Fault]:
    return FaultBook(installation.store).all()


def only_fault(installation: Installation) -> Fault:
    (fault,) = faults(installation)
    return fault


def task_context(error: BaseException | str | None, *, run_id: str = RUN, **task: Any) -> Any:
    """As much of a task's context as a callback looks at."""
    ti = SimpleNamespace(
        dag_id="ingest_episodes",
        task_id="validate_raw_episodes",
        run_id=run_id,
        map_index=-1,
        try_number=3,
        task=SimpleNamespace(**task),
    )
    return {"ti": ti, "exception": error} if error is not None else {"ti": ti}


def run_context(states: dict[str, str], run_id: str = RUN, **values: Any) -> Any:
    """The same of a DAG's callback; ``states`` are those of its tasks."""
    with DAG("ingest_episodes") as dag:
        for task_id in ("check_source", "encode_2", "encode"):
            PodsearchOperator(task_id=task_id)
    ti = SimpleNamespace(get_task_states=lambda dag_id, run_ids: {run_ids[0]: states})
    return {"dag": dag, "run_id": run_id, "ti": ti, "reason": "task_failure", **values}


def outcome(severity: Any = "critical", **values: Any) -> ExpectationResult:
    plain = {
        "what": "Ids are unique",
        "expectation": "expect_column_values_to_be_unique",
        "column": "uuid",
        "severity": severity,
        "success": False,
        "expected": "all values",
        "observed": "2 of 9 values fail",
        "samples": ["<b>e1</b>", "e2"],
    }
    return ExpectationResult(**(plain | values))


def result(*outcomes: ExpectationResult, suite: str = "raw_episodes") -> QualityResult:
    return QualityResult(
        suite=suite,
        run_name="version",
        validated_at=datetime.now(UTC),
        rows=9,
        seconds=0.1,
        outcomes=list(outcomes),
        docs_path=f"quality/version/data_docs/{suite}.html",
    )


def running(context: Any) -> AbstractContextManager[Any]:
    """Be in a task."""
    return set_current_context(context)


def of_run(day: int) -> dict[str, Any]:
    """What Airflow says of a run of some day, whenever its tasks are run."""
    return {"dag_run": SimpleNamespace(run_after=datetime(2026, 3, day, 2, tzinfo=UTC))}


def rollback(left: str, live: str) -> Rollback:
    def pointer(model: str) -> LivePointer:
        return LivePointer(
            backend="lancedb",
            index="i",
            namespace=model,
            model_version=model,
            snapshot_id="s",
            activated_at=datetime.now(UTC),
        )

    return Rollback(current=pointer(left), target=pointer(live), rows=1)
