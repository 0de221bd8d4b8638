from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.quality.result import Outcome, QualityError, QualityResult, Severity, load_all, require
from include.storage import ArtifactStore


def outcome(severity: Severity, *, success: bool) -> Outcome:
    return Outcome(
        what=f"A {severity} check", expectation="expect", severity=severity, success=success, expected="9", observed="1"
    )


def result(*outcomes: Outcome) -> QualityResult:
    return QualityResult(
        suite="episodes",
        run_name="run",
        validated_at=datetime(2026, 1, 1, tzinfo=UTC),
        rows=12_000,
        seconds=1.0,
        outcomes=list(outcomes),
        json_path="quality/run/episodes.json",
        docs_path="quality/run/data_docs/episodes.html",
    )


def test_require_lists_each_critical_failure_and_where_to_read_more() -> None:
    failed = result(
        outcome("critical", success=False), outcome("warning", success=False), outcome("critical", success=True)
    )

    with pytest.raises(QualityError) as raised:
        require(failed)

    message = str(raised.value)
    assert "1 critical expectation(s) of suite 'episodes' failed on 12,000 rows" in message
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
