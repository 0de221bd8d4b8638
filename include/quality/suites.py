"""What podsearch expects of its data, one function a table.

Severity decides what a failed expectation does: ``critical`` stops the run before anything is published, ``warning`` is
logged and shown, ``info`` is only shown.

Preparation puts a raw row it cannot use in quarantine, so one bad row is a warning. When more rows are bad than may be
quarantined, it is the file that is broken: each such check has a critical floor at that share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from great_expectations import ExpectationSuite
from great_expectations.expectations.core.expect_column_proportion_of_unique_values_to_be_between import (
    ExpectColumnProportionOfUniqueValuesToBeBetween,
)
from great_expectations.expectations.core.expect_column_values_to_be_between import (
    ExpectColumnValuesToBeBetween,
)
from great_expectations.expectations.core.expect_column_values_to_be_in_set import (
    ExpectColumnValuesToBeInSet,
)
from great_expectations.expectations.core.expect_column_values_to_be_unique import (
    ExpectColumnValuesToBeUnique,
)
from great_expectations.expectations.core.expect_column_values_to_match_regex import (
    ExpectColumnValuesToMatchRegex,
)
from great_expectations.expectations.core.expect_column_values_to_not_be_null import (
    ExpectColumnValuesToNotBeNull,
)
from great_expectations.expectations.core.expect_table_columns_to_match_set import (
    ExpectTableColumnsToMatchSet,
)
from great_expectations.expectations.core.expect_table_row_count_to_be_between import (
    ExpectTableRowCountToBeBetween,
)
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from include.episodes.prepare import EARLIEST, LATEST
from include.episodes.quarantine import USABLE_ID
from include.episodes.raw import COLUMNS
from include.episodes.schema import EPISODES
from include.quality.profile import LANGUAGE_NAME

CONTENT_HASH = r"^[0-9a-f]{24}$"


def raw_podcasts(
    *,
    malformed: int,
    rows_read: int,
    max_quarantined_share: float,
    max_shrink: float,
    max_growth: float = 3.0,
    previous_rows: int | None = None,
) -> ExpectationSuite:
    """Suite of :func:`include.quality.frames.raw_podcasts`.

    :param malformed: rows that could not be read at all, and so are not in the table.
    :param rows_read: rows of the file, the malformed ones included.
    :param max_quarantined_share: share of unusable rows (0 to 1) from which the file itself counts as broken.
    :param max_shrink: largest loss of rows against ``previous_rows``, as a share (0 to 1).
    :param max_growth: how many times as large as ``previous_rows`` a file may be without a warning.
    :param previous_rows: rows of the file that the last snapshot was made from; None before the first.
    """
    floor = 1 - max_quarantined_share
    return ExpectationSuite(
        name="raw_podcasts",
        expectations=[
            _has_columns(COLUMNS["podcasts"]),
            *_row_count("shows", previous=previous_rows, max_shrink=max_shrink, max_growth=max_growth),
            _kept("unreadable", malformed, rows_read, max_quarantined_share),
            *_rows(ExpectColumnValuesToNotBeNull, "uuid", "Every show has an id", floor=floor),
            *_rows(ExpectColumnValuesToBeUnique, "uuid", "No two shows share an id", floor=floor),
            *_rows(
                ExpectColumnValuesToMatchRegex, "uuid", "Ids are usable as index keys", floor=floor, regex=USABLE_ID
            ),
            *_rows(ExpectColumnValuesToNotBeNull, "title", "Shows have a title", mostly=0.99, floor=floor),
            *_rows(ExpectColumnValuesToNotBeNull, "description", "Shows have a description", mostly=0.3),
            *_rows(ExpectColumnValuesToNotBeNull, "language", "Shows name their language", mostly=0.5),
            *_language(),
            *_length("title_chars", "Show titles have a plausible length", 1, 500),
            *_length("description_chars", "Show descriptions have a plausible length", 1, 20_000),
        ],
    )


def raw_episodes(
    *,
    malformed: int,
    rows_read: int,
    max_quarantined_share: float,
    max_shrink: float,
    max_growth: float = 3.0,
    previous_rows: int | None = None,
) -> ExpectationSuite:
    """Suite of :func:`include.quality.frames.raw_episodes`; the parameters are those of :func:`raw_podcasts`."""
    floor = 1 - max_quarantined_share
    not_null = ExpectColumnValuesToNotBeNull
    return ExpectationSuite(
        name="raw_episodes",
        expectations=[
            _has_columns(COLUMNS["episodes"]),
            *_row_count("episodes", previous=previous_rows, max_shrink=max_shrink, max_growth=max_growth),
            _kept("unreadable", malformed, rows_read, max_quarantined_share),
            *_rows(not_null, "uuid", "Every episode has an id", floor=floor),
            *_rows(ExpectColumnValuesToBeUnique, "uuid", "No two episodes share an id", floor=floor),
            *_rows(
                ExpectColumnValuesToMatchRegex, "uuid", "Ids are usable as index keys", floor=floor, regex=USABLE_ID
            ),
            *_rows(not_null, "podcast_uuid", "Every episode names its show", floor=floor),
            *_true("podcast_known", "The show of an episode is in podcasts.csv", mostly=0.98, floor=floor),
            *_rows(not_null, "title", "Episodes have a title", mostly=0.99, floor=floor),
            *_rows(not_null, "description", "Episodes have a description", mostly=0.85, floor=floor),
            *_length("title_chars", "Titles have a plausible length", 1, 500),
            *_length("description_chars", "Descriptions have a plausible length", 1, 50_000),
            *_rows(not_null, "pub_date", "Episodes have a date", mostly=0.9),
            *_true("date_parses", "Dates can be read", mostly=0.99, floor=floor),
            *_recent(),
            *_rows(
                ExpectColumnValuesToMatchRegex,
                "audio_length",
                "Lengths are whole seconds",
                mostly=0.95,
                regex=r"^\d{1,6}$",
            ),
        ],
    )


def episodes(
    *,
    quarantined: int,
    rows_read: int,
    max_quarantined_share: float,
    max_shrink: float,
    max_text_chars: int,
    max_growth: float = 3.0,
    previous_rows: int | None = None,
) -> ExpectationSuite:
    """Suite of :func:`include.quality.frames.prepared_episodes`.

    What preparation guarantees is critical: if it does not hold, the code is wrong, and nothing may be published.

    :param quarantined: rows of episodes.csv that could not be used.
    :param rows_read: rows of episodes.csv, the quarantined ones included.
    :param max_text_chars: the length at which cleaning cuts a description.
    :param previous_rows: episodes of the last snapshot; None before the first.

    The other parameters are those of :func:`raw_podcasts`.
    """
    required = ("podcast_id", "title", "description", "show_title", "text", "content_hash")
    return ExpectationSuite(
        name="episodes",
        expectations=[
            _has_columns(EPISODES.names),
            *_row_count("episodes", previous=previous_rows, max_shrink=max_shrink, max_growth=max_growth),
            _kept("in quarantine", quarantined, rows_read, max_quarantined_share),
            _critical(ExpectColumnValuesToNotBeNull, "episode_id", "Every episode has an id"),
            _critical(ExpectColumnValuesToBeUnique, "episode_id", "No two episodes share an id"),
            _critical(ExpectColumnValuesToMatchRegex, "episode_id", "Ids are usable as index keys", regex=USABLE_ID),
            *(_critical(ExpectColumnValuesToNotBeNull, name, f"Every episode has a {name}") for name in required),
            _critical(
                ExpectColumnValuesToMatchRegex, "content_hash", "Content hashes are well formed", regex=CONTENT_HASH
            ),
            _critical(ExpectColumnValuesToBeBetween, "title_chars", "No title is empty", min_value=1),
            _critical(
                ExpectColumnValuesToBeBetween,
                "description_chars",
                "No description is empty or longer than the cut",
                min_value=1,
                max_value=max_text_chars,
            ),
            *_length("text_chars", "Texts are long enough to be found", 20, None),
            _critical(
                ExpectColumnValuesToBeBetween,
                "published_year",
                "No date is one that preparation refuses",
                min_value=EARLIEST.year,
                max_value=LATEST.year - 1,
            ),
            *_recent(),
            *_rows(ExpectColumnValuesToNotBeNull, "published_at", "Episodes have a date", mostly=0.9),
            *_rows(ExpectColumnValuesToNotBeNull, "language", "Episodes name their language", mostly=0.5),
            *_rows(ExpectColumnValuesToNotBeNull, "show_description", "Shows have a description", mostly=0.1),
            *_language(),
            *_rows(
                ExpectColumnValuesToBeBetween,
                "duration_seconds",
                "Episodes last between a second and two days",
                mostly=0.99,
                min_value=1,
                max_value=172_800,
            ),
            *_rows(
                ExpectColumnValuesToBeInSet,
                "has_markup",
                "No HTML is left in the text",
                mostly=0.99,
                value_set=[False],
            ),
            ExpectColumnProportionOfUniqueValuesToBeBetween(
                column="content_hash",
                min_value=0.8,
                severity=FailureSeverity.WARNING,
                description="Most episodes have a text of their own",
            ),
        ],
    )


def _has_columns(columns: Sequence[str]) -> Expectation:
    return ExpectTableColumnsToMatchSet(
        column_set=list(columns),
        exact_match=False,
        severity=FailureSeverity.CRITICAL,
        description="The required columns are there",
    )


def _row_count(noun: str, *, previous: int | None, max_shrink: float, max_growth: float) -> list[Expectation]:
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
                max_value=math.floor(previous * max_growth),
                severity=FailureSeverity.WARNING,
                description=f"At most {max_growth:g} times the {previous:,} {noun} of the last snapshot",
            ),
        ]
    return checks


def _kept(state: str, lost: int, rows_read: int, max_share: float) -> Expectation:
    """The share of rows lost on the way, put as what it leaves: the form that a check of the rows kept can take."""
    share = lost / rows_read if rows_read else 0.0
    return ExpectTableRowCountToBeBetween(
        min_value=math.ceil(rows_read * (1 - max_share)),
        severity=FailureSeverity.CRITICAL,
        description=f"At most {max_share:.0%} of the {rows_read:,} rows read are {state} ({lost:,} are: {share:.1%})",
    )


def _critical(kind: Callable[..., Expectation], column: str, what: str, **kwargs: Any) -> Expectation:
    return kind(column=column, severity=FailureSeverity.CRITICAL, description=what, **kwargs)


def _rows(
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


def _true(column: str, what: str, *, mostly: float, floor: float) -> list[Expectation]:
    return _rows(ExpectColumnValuesToBeInSet, column, what, mostly=mostly, floor=floor, value_set=[True])


def _length(column: str, what: str, least: int, most: int | None) -> list[Expectation]:
    return _rows(ExpectColumnValuesToBeBetween, column, what, mostly=0.99, min_value=least, max_value=most)


def _recent() -> list[Expectation]:
    """Episodes may be announced, but hardly for later than next year."""
    return _rows(
        ExpectColumnValuesToBeBetween,
        "published_year",
        "Dates are plausible",
        mostly=0.99,
        min_value=EARLIEST.year,
        max_value=datetime.now(UTC).year + 1,
    )


def _language() -> list[Expectation]:
    return _rows(
        ExpectColumnValuesToMatchRegex, "language", "Languages are names or codes", mostly=0.99, regex=LANGUAGE_NAME
    )
