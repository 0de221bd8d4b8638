from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.quality.result import (
    ExpectationResult,
    QualityError,
    QualityResult,
    Severity,
    docs_of,
    load_all,
    require,
    summary,
)
from include.storage import ArtifactStore


def outcome(severity: Severity, *, success: bool) -> ExpectationResult:
    return ExpectationResult(
        what=f"A {severity} check", expectation="expect", severity=severity, success=success, expected="9", observed="1"
    )


def result(*outcomes: ExpectationResult) -> QualityResult:
    return QualityResult(
        suite="episodes",
        run_name="run",
        validated_at=datetime(2026, 1, 1, tzinfo=UTC),
        rows=12_000,
        seconds=1.0,
        outcomes=list(outcomes),
        docs_path="quality/run/data_docs/episodes.html",
    )


def test_require_lists_each_critical_failure_and_where_to_read_more() -> None:
    failed = result(
        outcome("critical", success=False), outcome("warning", success=False), outcome("critical", success=True)
    )

    with pytest.raises(QualityError) as raised:
        require(failed)

    message = str(raised.value)
    assert "1 critical expectation(s) of suite 'episodes' failed on 12,000 row(s)" in message
    assert "- A critical check: observed 1; expected 9" in message
    assert "A warning check" not in message
    assert "quality/run/data_docs/episodes.html" in message


def test_warnings_and_information_do_not_stop_a_run() -> None:
    passed = result(
        outcome("warning", success=False), outcome("info", success=False), outcome("critical", success=True)
    )

    assert require(passed) is passed
    assert passed.statistics == {"evaluated": 3, "met": 1, "critical": 0, "warning": 1, "info": 1}


def test_a_stored_result_reads_back_as_it_was(store: ArtifactStore) -> None:
    stored = result(outcome("critical", success=False))
    store.write_json(stored.model_dump(mode="json"), "quality", "run", "episodes.json")

    assert load_all(store, "run") == [stored]
    assert load_all(store, "another") == []


def keep(store: ArtifactStore, run_name: str, suite: str, *outcomes: ExpectationResult) -> None:
    stored = result(*outcomes).model_copy(update={"run_name": run_name, "suite": suite})
    store.write_json(stored.model_dump(mode="json"), "quality", run_name, f"{suite}.json")


def test_a_summary_says_what_all_suites_of_a_run_found(store: ArtifactStore) -> None:
    keep(store, "run", "drift", outcome("warning", success=False), outcome("info", success=False))
    keep(store, "run", "episodes", outcome("critical", success=True))

    assert summary(store, "run") == {
        "suites": 2,
        "evaluated": 3,
        "met": 1,
        "warnings": ["A warning check: observed 1; expected 9"],
        "docs": "quality/run/data_docs/index.html",
    }


def test_the_docs_of_a_version_are_those_of_its_last_run(store: ArtifactStore) -> None:
    for name in ("20260102T000000.v1", "20260103T000000.v11", "20260101T000000.v1"):
        keep(store, name, "episodes")

    assert docs_of(store, "v11") == "quality/20260103T000000.v11/data_docs/index.html"
    assert docs_of(store, "v1") == "quality/20260102T000000.v1/data_docs/index.html"
    assert docs_of(store, "v2") is None
