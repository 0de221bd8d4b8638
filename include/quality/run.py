"""Validating a table against a suite with Great Expectations, and storing the result and its Data Docs."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult, RunIdentifier
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

from include.quality import docs
from include.quality.result import DOCS, FOLDER, Outcome, QualityResult
from include.storage import ArtifactStore

SAMPLES = 5
SAMPLE_CHARS = 120
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
        outcomes=[_outcome(item) for item in _in_order(report, suite)],
        json_path=f"{FOLDER}/{run_name}/{suite.name}.json",
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
    definition = gx.ValidationDefinition(name=suite.name, data=batch, suite=context.suites.add(suite))
    return context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": frame},
        result_format={"result_format": "SUMMARY", "partial_unexpected_count": SAMPLES},
        run_id=run_id,
    )


def _in_order(
    report: ExpectationSuiteValidationResult, suite: gx.ExpectationSuite
) -> list[ExpectationValidationResult]:
    """The results in the order of the suite (Great Expectations puts checks that raised an exception first)."""
    place = {expectation.id: number for number, expectation in enumerate(suite.expectations)}
    return sorted(report.results, key=lambda item: place[_config(item).id])


def _config(item: ExpectationValidationResult) -> ExpectationConfiguration:
    """What was asked: every result of a suite has it, though its type does not say so."""
    assert item.expectation_config is not None
    return item.expectation_config


def _shorten(report: ExpectationSuiteValidationResult) -> None:
    """Cut what a report quotes: long samples, and tracebacks (they name files of this machine and help no reader)."""
    for item in report.results:
        if _config(item).type == "expect_column_values_to_not_be_null":
            # What it quotes is null: that says nothing, and where it is pandas.NA, Great Expectations cannot render it.
            item.result = {key: value for key, value in item.result.items() if not key.startswith("partial_")}
        item.result = _cut(item.result)
        if _exception(item):
            item.exception_info = {
                "raised_exception": True,
                "exception_message": _exception(item),
                "exception_traceback": "",
            }


def _cut(value: Any) -> Any:
    """A copy of a JSON-like value in which no string is longer than :data:`SAMPLE_CHARS`."""
    if isinstance(value, str):
        return value if len(value) <= SAMPLE_CHARS else value[:SAMPLE_CHARS] + "…"
    if isinstance(value, Mapping):
        return {key: _cut(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item) for item in value]
    return value


def _exception(item: ExpectationValidationResult) -> str | None:
    """Why a check could not be made, if it could not: one exception, or one for each metric it needs."""
    info = item.exception_info or {}
    errors = [info] if "raised_exception" in info else list(info.values())
    message = next((_cut(str(error["exception_message"])) for error in errors if error["raised_exception"]), None)
    missing = message is not None and re.search(r'The column "(.+)" in BatchData does not exist', message)
    return f"there is no column {missing[1]}" if missing else message


def _outcome(item: ExpectationValidationResult) -> Outcome:
    config = _config(item)
    samples = [str(value) for value in item.result.get("partial_unexpected_list", [])]
    return Outcome(
        what=config.description or config.type,
        expectation=config.type,
        column=config.kwargs.get("column"),
        severity=config.severity,
        success=bool(item.success),
        expected=_expected(config.kwargs),
        observed=_observed(item),
        samples=list(dict.fromkeys(samples)),
    )


def _expected(kwargs: Mapping[str, Any]) -> str:
    """The arguments of an expectation in words."""
    parts = []
    if "column_set" in kwargs:
        parts.append("columns " + ", ".join(kwargs["column_set"]))
    if "regex" in kwargs:
        parts.append(f"match {kwargs['regex']}")
    if "value_set" in kwargs:
        parts.append("is " + " or ".join(map(str, kwargs["value_set"])).lower())
    least, most = kwargs.get("min_value"), kwargs.get("max_value")
    if least is not None and most is not None:
        parts.append(f"between {_number(least)} and {_number(most)}")
    elif least is not None or most is not None:
        parts.append(f"at least {_number(least)}" if most is None else f"at most {_number(most)}")
    if kwargs.get("mostly", 1) < 1:
        parts.append(f"at least {kwargs['mostly']:.0%} of values")
    return "; ".join(parts) or "all values"


def _number(value: Any) -> str:
    """A number as people write it; four digits stay together, as years do."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _observed(item: ExpectationValidationResult) -> str:
    """What was found, in words."""
    if problem := _exception(item):
        return problem
    found, kwargs = item.result, _config(item).kwargs
    if "column_set" in kwargs:
        missing = sorted(set(kwargs["column_set"]) - set(found["observed_value"]))
        return f"missing: {', '.join(missing)}" if missing else "all there"
    if "unexpected_count" in found:
        checked = found["element_count"] - found.get("missing_count", 0)
        return f"{found['unexpected_count']:,} of {checked:,} values fail ({found['unexpected_percent'] or 0:.3g} %)"
    return _number(found["observed_value"])
