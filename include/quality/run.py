"""Validating a table against a suite with Great Expectations, and storing the result and its Data Docs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult, RunIdentifier
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.execution_engine import pandas_execution_engine

from include.quality import docs
from include.quality.result import DOCS, FOLDER, ExpectationResult, QualityResult
from include.quality.wording import configuration, exception, expected, observed
from include.storage import ArtifactStore

SAMPLES = 5
SAMPLE_CHARS = 120
KEYS = ("uuid", "episode_id")
"""Columns that name a row."""
# Bytes from which on Great Expectations leaves out the fingerprint of a table. It goes into markers of the batch, which
# nothing here reads, and takes longer and more memory than all checks together.
pandas_execution_engine.HASH_THRESHOLD = 0
RUN_NAME = re.compile(r"[\w-][\w.:+=@-]{0,199}")


def validate(frame: pd.DataFrame, suite: gx.ExpectationSuite, *, store: ArtifactStore, run_name: str) -> QualityResult:
    """Check a table and store what was found.

    Written to the store: ``quality/<run_name>/<suite>.json`` and ``quality/<run_name>/data_docs/``, whose index lists
    all suites of the run validated so far, by whichever process. Doing it again replaces the suite's result and page.

    :param frame: the table, as :mod:`include.quality.frames` makes it.
    :param run_name: names the folder of the run; the suites of one run share it.
    :raises ValueError: the run name cannot be the name of a folder.
    """
    if not RUN_NAME.fullmatch(run_name):
        raise ValueError(f"{run_name!r} cannot name a folder: use letters, digits and . : + = @ _ - (200 at most).")
    validated_at, started = datetime.now(UTC), time.perf_counter()
    report = _evaluate(frame, suite, RunIdentifier(run_name=run_name, run_time=validated_at))
    _shorten(report)
    result = QualityResult(
        suite=suite.name,
        run_name=run_name,
        validated_at=validated_at,
        rows=len(frame),
        seconds=round(time.perf_counter() - started, 3),
        outcomes=[_outcome(item, frame) for item in _in_order(report)],
        docs_path=f"{FOLDER}/{run_name}/{DOCS}/{suite.name}.html",
    )
    store.write_json(result.model_dump(mode="json"), FOLDER, run_name, f"{suite.name}.json")
    docs.write(store, result, report)
    return result


def _evaluate(
    frame: pd.DataFrame, suite: gx.ExpectationSuite, run_id: RunIdentifier
) -> ExpectationSuiteValidationResult:
    """Run the suite in a context of its own, which leaves nothing behind and sends nothing anywhere."""
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    batch = (
        context.data_sources.add_pandas("podsearch")
        .add_dataframe_asset(suite.name)
        .add_batch_definition_whole_dataframe("whole")
    )
    for number, expectation in enumerate(suite.expectations):  # _in_order() looks for it
        expectation.id = str(number)
    report = batch.get_batch({"dataframe": frame}).validate(
        suite,
        result_format={
            "result_format": "SUMMARY",
            "partial_unexpected_count": SAMPLES,
            # It would name every row that fails.
            "return_unexpected_index_query": False,
        },
    )
    report.meta |= {"run_id": run_id, "validation_time": run_id.run_time}
    return report


def _in_order(report: ExpectationSuiteValidationResult) -> list[ExpectationValidationResult]:
    """The results in the order of the suite (Great Expectations puts checks that raised an exception first)."""
    return sorted(report.results, key=lambda item: int(configuration(item).id or 0))


def _shorten(report: ExpectationSuiteValidationResult) -> None:
    """Cut what a report quotes: long samples, and tracebacks (they name files of this machine and help no reader)."""
    for item in report.results:
        if configuration(item).type == "expect_column_values_to_not_be_null":
            # What it quotes is null: that says nothing, and where it is pandas.NA, Great Expectations cannot render it.
            quoted = ("partial_unexpected_list", "partial_unexpected_counts")
            item.result = {key: value for key, value in item.result.items() if key not in quoted}
        item.result = _cut(item.result)
        if problem := exception(item):
            item.exception_info = {
                "raised_exception": True,
                "exception_message": _cut(problem),
                "exception_traceback": "",
            }


def _cut(value: Any) -> Any:
    """A copy of a JSON-like value in which no string is longer than :data:`SAMPLE_CHARS`, and 7.0 is 7."""
    if isinstance(value, str):
        return value if len(value) <= SAMPLE_CHARS else value[:SAMPLE_CHARS] + "…"
    if isinstance(value, float) and value.is_integer():  # in the tables, lengths are floats
        return int(value)
    if isinstance(value, Mapping):
        return {key: _cut(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item) for item in value]
    return value


def _outcome(item: ExpectationValidationResult, frame: pd.DataFrame) -> ExpectationResult:
    config = configuration(item)
    return ExpectationResult(
        what=config.description or config.type,
        expectation=config.type,
        column=config.kwargs.get("column"),
        severity=config.severity,
        success=bool(item.success),
        expected=expected(config),
        observed=observed(item),
        samples=list(dict.fromkeys(_samples(item, frame))),
    )


def _samples(item: ExpectationValidationResult, frame: pd.DataFrame) -> Iterator[str]:
    """A few of the values that fail, each with the id of its row; the id alone where the value says nothing."""
    column, key = configuration(item).kwargs.get("column"), next((name for name in KEYS if name in frame), None)
    values = item.result.get("partial_unexpected_list", [])
    rows = item.result.get("partial_unexpected_index_list", [])
    for value, row in zip_longest(values, rows):
        named = key is not None and column != key and row is not None
        place = str(_cut(str(frame[key].iloc[row]))) if named else ""
        told = "" if value is None or isinstance(value, bool | np.bool_) else str(value)
        if told or place:
            yield " in ".join(filter(None, (told, place)))
