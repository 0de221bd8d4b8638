"""What a validation found: the models that are stored, shown in Data Docs and handed to the operators."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, computed_field

from include.errors import PermanentError
from include.storage import ArtifactStore

FOLDER = "quality"
DOCS = "data_docs"
SHOWN = 3
"""Examples of a critical expectation that its message shows."""
QUERIES = "queries"
"""The suite of train_retriever; all others are of ingest_episodes."""

Severity = Literal["critical", "warning", "info"]


class QualityError(PermanentError, RuntimeError):
    """A critical expectation failed: later tasks must not use this data."""


class DamagedResultError(PermanentError, ValueError):
    """A stored result is damaged."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is damaged: clear the task that validated this table, or remove the file.")


class ExpectationResult(BaseModel):
    """One expectation: what was wanted, what was found."""

    what: str
    expectation: str
    column: str | None = None
    severity: Severity
    success: bool
    expected: str
    observed: str
    samples: list[str] = []
    """A few of the values that failed, each cut to a readable length. Text of feeds: escape it before showing it."""


class QualityResult(BaseModel):
    """The validation of one table by one suite.

    ``docs_path`` is relative to the artifact store's root.
    """

    suite: str
    run_name: str
    validated_at: datetime
    rows: int
    seconds: float
    outcomes: list[ExpectationResult]
    docs_path: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def success(self) -> bool:
        """Whether every critical expectation was met."""
        return not self.critical

    @property
    def critical(self) -> list[ExpectationResult]:
        return self._failed("critical")

    @property
    def warnings(self) -> list[ExpectationResult]:
        return self._failed("warning")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def statistics(self) -> dict[str, int]:
        """How many expectations were evaluated and met, and how many failed by severity."""
        return {
            "evaluated": len(self.outcomes),
            "met": sum(outcome.success for outcome in self.outcomes),
            "critical": len(self.critical),
            "warning": len(self.warnings),
            "info": len(self._failed("info")),
        }

    def _failed(self, severity: Severity) -> list[ExpectationResult]:
        return [outcome for outcome in self.outcomes if not outcome.success and outcome.severity == severity]


def require(result: QualityResult) -> QualityResult:
    """The result itself, if nothing critical failed.

    :raises QualityError: lists each failed critical expectation, what was observed and what was expected.
    """
    if result.success:
        return result
    lines = [
        f"- {item.what}: observed {item.observed}{_such_as(item)}; expected {item.expected}" for item in result.critical
    ]
    remedy = "Fix the source or the threshold, then clear this task."
    if result.suite == QUERIES:
        remedy = (
            "Fix the query generator's settings and trigger train_retriever again, or fix the threshold and clear "
            "this task."
        )
    else:
        remedy += " If the catalogue has changed for good, trigger ingest_episodes again with 'Accept drift'."
    raise QualityError(
        f"{len(lines)} critical expectation(s) of suite '{result.suite}' failed on {result.rows:,} row(s):\n"
        + "\n".join(lines)
        + f"\nData Docs: {result.docs_path}\n{remedy}"
    )


def _such_as(item: ExpectationResult) -> str:
    """Examples of the values found, as Python string literals, because they are text from feeds."""
    return f", such as {', '.join(map(repr, item.samples[:SHOWN]))}" if item.samples else ""


def load_all(store: ArtifactStore, run_name: str) -> list[QualityResult]:
    """The results of a run so far, by suite name.

    :raises DamagedResultError: one of them cannot be read.
    """
    names = [name for name in store.names(FOLDER, run_name) if name.endswith(".json")]
    return [_load(store, run_name, name) for name in names]


def _load(store: ArtifactStore, run_name: str, name: str) -> QualityResult:
    try:
        return QualityResult.model_validate(store.read_json(FOLDER, run_name, name))
    except ValueError:
        raise DamagedResultError(f"{FOLDER}/{run_name}/{name}") from None


def docs_of(store: ArtifactStore, version: str) -> str | None:
    """The index of Data Docs of the last run on a version of the source, relative to the store's root."""
    # The newest first: a name begins with the time of its run.
    run = next((name for name in reversed(store.names(FOLDER)) if name.endswith(f".{version}")), None)
    return f"{FOLDER}/{run}/{DOCS}/index.html" if run else None


def summary(store: ArtifactStore, run_name: str) -> dict[str, Any]:
    """A summary of a run's validations, for the event of the new snapshot.

    ``suites``, ``evaluated`` and ``met`` are numbers, ``warnings`` says what was observed against what was expected,
    and ``docs`` is the index of Data Docs, relative to the artifact store's root.
    """
    results = load_all(store, run_name)
    return {
        "suites": len(results),
        "evaluated": sum(result.statistics["evaluated"] for result in results),
        "met": sum(result.statistics["met"] for result in results),
        "warnings": [
            f"{item.what}: observed {item.observed}; expected {item.expected}"
            for result in results
            for item in result.warnings
        ],
        "docs": f"{FOLDER}/{run_name}/{DOCS}/index.html",
    }
