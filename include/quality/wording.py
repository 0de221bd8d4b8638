"""What an expectation required and what it found, in words, for the log, Data Docs and alerts.

An expectation's ``meta`` may say more about its figures: ``unit`` stands after each number ("%"), ``basis`` says where
the bounds come from ("from the last 5 snapshots").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd
from great_expectations.core import ExpectationValidationResult
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration


def configuration(item: ExpectationValidationResult) -> ExpectationConfiguration:
    """What was asked: every result of a suite has it, though its type does not say so."""
    assert item.expectation_config is not None
    return item.expectation_config


def exception(item: ExpectationValidationResult) -> str | None:
    """Why a check could not be run, if it could not: one exception, or one for each metric it needs."""
    info = item.exception_info or {}
    errors = [info] if "raised_exception" in info else list(info.values())
    message = next((str(error["exception_message"]) for error in errors if error["raised_exception"]), None)
    missing = message is not None and re.search(r'The column "(.+)" in BatchData does not exist', message)
    return f"there is no column {missing[1]}" if missing else message


def expected(config: ExpectationConfiguration) -> str:
    """The arguments of an expectation."""
    kwargs, meta = config.kwargs, _meta(config)
    parts = []
    if "column_set" in kwargs:
        parts.append("columns " + ", ".join(kwargs["column_set"]))
    if "regex" in kwargs:
        parts.append(f"match {kwargs['regex']}")
    if "value_set" in kwargs:
        parts.append("is " + " or ".join(map(str, kwargs["value_set"])).lower())
    parts += _between(kwargs.get("min_value"), kwargs.get("max_value"), meta.get("unit", ""))
    if kwargs.get("mostly", 1) < 1:
        parts.append(f"at least {kwargs['mostly']:.0%} of values")
    text = "; ".join(parts) or "all values"
    return f"{text}, {meta['basis']}" if "basis" in meta else text


def observed(item: ExpectationValidationResult) -> str:
    """What was found."""
    if problem := exception(item):
        return problem
    found, config = item.result, configuration(item)
    if "column_set" in config.kwargs:
        missing = sorted(set(config.kwargs["column_set"]) - set(found["observed_value"]))
        return f"missing: {', '.join(missing)}" if missing else "all there"
    if "unexpected_count" in found:
        checked = found["element_count"] - found.get("missing_count", 0)
        return f"{found['unexpected_count']:,} of {checked:,} values fail ({found['unexpected_percent'] or 0:.3g} %)"
    return number(found.get("observed_value"), _meta(config).get("unit", ""))


def number(value: Any, unit: str = "") -> str:
    """A number as people write it; four digits stay together, as years do. A date is its day, nothing is "none"."""
    if value is None or pd.isna(value):
        return "none"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}"
    if unit == "%":
        return f"{value:.2f}".rstrip("0").rstrip(".") + " %"
    figure = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return f"{figure} {unit}".rstrip()


def _between(least: Any, most: Any, unit: str) -> list[str]:
    if least is not None and most is not None:
        first = number(least, unit if unit == "%" else "")
        return [f"between {first} and {number(most, unit)}"]
    if least is not None:
        return [f"at least {number(least, unit)}"]
    return [f"at most {number(most, unit)}"] if most is not None else []


def _meta(config: ExpectationConfiguration) -> Mapping[str, str]:
    meta: Mapping[str, str] = config.meta or {}
    return meta
