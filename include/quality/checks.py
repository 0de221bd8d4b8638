"""The checks that suites consist of: Great Expectations expectations, each with its severity and wording."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from great_expectations.expectations import (
    ExpectColumnMaxToBeBetween,
    ExpectColumnValuesToBeBetween,
    ExpectColumnValuesToBeInSet,
    ExpectColumnValuesToMatchRegex,
    ExpectTableColumnsToMatchSet,
    ExpectTableRowCountToBeBetween,
)
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from include.episodes.times import EARLIEST
from include.quality.frames import READABLE
from include.quality.profile import LANGUAGE_NAME

MAX_GROWTH = 3.0
"""How many times as large as the last one a table may be without a warning."""


def has_columns(columns: Sequence[str]) -> Expectation:
    return ExpectTableColumnsToMatchSet(
        column_set=list(columns),
        exact_match=False,
        severity=FailureSeverity.CRITICAL,
        description="The required columns are there",
    )


def row_count(noun: str, *, previous: int | None, max_shrink: float) -> list[Expectation]:
    """The table is not empty and, if there was a snapshot before, neither far smaller nor far larger than it."""
    count = ExpectTableRowCountToBeBetween
    checks: list[Expectation] = [count(min_value=1, severity=FailureSeverity.CRITICAL, description=f"There are {noun}")]
    if previous:
        checks += [
            count(
                min_value=math.ceil(previous * (1 - max_shrink)),
                severity=FailureSeverity.CRITICAL,
                description=f"At most {max_shrink:.0%} fewer {noun} than the {previous:,} of the last snapshot",
            ),
            count(
                max_value=math.floor(previous * MAX_GROWTH),
                severity=FailureSeverity.WARNING,
                description=f"At most {MAX_GROWTH:g} times the {previous:,} {noun} of the last snapshot",
            ),
        ]
    return checks


def kept(state: str, lost: int, rows_read: int, max_share: float) -> Expectation:
    """The share of rows lost on the way, expressed as the share that is left, so that the rows kept can be checked for
    it."""
    share = lost / rows_read if rows_read else 0.0
    return ExpectTableRowCountToBeBetween(
        min_value=math.ceil(rows_read * (1 - max_share)),
        severity=FailureSeverity.CRITICAL,
        description=f"At most {max_share:.0%} of the {rows_read:,} rows read are {state} ({lost:,} are: {share:.1%})",
    )


def critical(kind: Callable[..., Expectation], column: str, what: str, **kwargs: Any) -> Expectation:
    return kind(column=column, severity=FailureSeverity.CRITICAL, description=what, **kwargs)


def rows(
    kind: Callable[..., Expectation],
    column: str,
    what: str,
    *,
    mostly: float = 1.0,
    floor: float | None = None,
    **kwargs: Any,
) -> list[Expectation]:
    """A warning below ``mostly`` (share of good values), and a critical failure below ``floor`` if there is one."""
    checks = [kind(column=column, mostly=mostly, severity=FailureSeverity.WARNING, description=what, **kwargs)]
    if floor is not None:
        at_least = f"{what} (at least {floor:.0%} of them)"
        checks.append(
            kind(column=column, mostly=floor, severity=FailureSeverity.CRITICAL, description=at_least, **kwargs)
        )
    return checks


def true(column: str, what: str, *, mostly: float, floor: float) -> list[Expectation]:
    return rows(ExpectColumnValuesToBeInSet, column, what, mostly=mostly, floor=floor, value_set=[True])


def readable(column: str, what: str, *, mostly: float, floor: float | None = None) -> list[Expectation]:
    return rows(ExpectColumnValuesToBeInSet, column, what, mostly=mostly, floor=floor, value_set=[READABLE])


def length(column: str, what: str, least: int, most: int | None) -> list[Expectation]:
    return rows(ExpectColumnValuesToBeBetween, column, what, mostly=0.99, min_value=least, max_value=most)


def recent() -> list[Expectation]:
    """Episodes may be announced, but hardly for later than next year."""
    return rows(
        ExpectColumnValuesToBeBetween,
        "published_year",
        "Dates are plausible",
        mostly=0.99,
        min_value=EARLIEST.year,
        max_value=datetime.now(UTC).year + 1,
    )


def language() -> list[Expectation]:
    return rows(
        ExpectColumnValuesToMatchRegex, "language", "Languages are names or codes", mostly=0.99, regex=LANGUAGE_NAME
    )


def figure(
    column: str,
    what: str,
    severity: FailureSeverity,
    *,
    least: float | None = None,
    most: float | None = None,
    unit: str = "%",
) -> Expectation:
    """A bound on a figure of the whole table that every row repeats."""
    return ExpectColumnMaxToBeBetween(
        column=column, min_value=least, max_value=most, severity=severity, description=what, meta={"unit": unit}
    )
