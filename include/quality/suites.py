"""What podsearch expects of its data, one function per table.

Severity decides what a failed expectation does: ``critical`` stops the run before anything is published, ``warning`` is
logged and shown, ``info`` is only shown.

Preparation puts raw rows it cannot use in quarantine, so one bad row is a warning. If more rows are bad than may be
quarantined, the file itself is broken: each such check has a critical floor at that share.
"""

from __future__ import annotations

from great_expectations import ExpectationSuite
from great_expectations.expectations import (
    ExpectColumnProportionOfUniqueValuesToBeBetween,
    ExpectColumnValuesToBeBetween,
    ExpectColumnValuesToBeInSet,
    ExpectColumnValuesToBeUnique,
    ExpectColumnValuesToMatchRegex,
    ExpectColumnValuesToNotBeNull,
    ExpectTableRowCountToBeBetween,
)
from great_expectations.expectations.metadata_types import FailureSeverity

from include.episodes.columns import COLUMNS
from include.episodes.quarantine import USABLE_ID
from include.episodes.schema import EPISODES, MAX_TEXT_CHARS
from include.episodes.times import EARLIEST, LATEST
from include.quality import checks
from include.quality.result import QUERIES

CONTENT_HASH = r"^[0-9a-f]{24}$"
SPLITS = ("train", "eval", "test")


def raw_podcasts(
    *,
    malformed: int,
    rows_read: int,
    max_quarantined_share: float,
    max_shrink: float,
    previous_rows: int | None = None,
) -> ExpectationSuite:
    """Suite of :func:`include.quality.frames.raw_podcasts`.

    :param malformed: rows that could not be read at all, and so are not in the table.
    :param rows_read: rows of the file, the malformed ones included.
    :param max_quarantined_share: share of unusable rows (0 to 1) from which the file itself counts as broken.
    :param max_shrink: largest loss of rows against ``previous_rows``, as a share (0 to 1).
    :param previous_rows: rows of the file that the last snapshot was made from; None before the first.
    """
    floor = 1 - max_quarantined_share
    return ExpectationSuite(
        name="raw_podcasts",
        expectations=[
            checks.has_columns(COLUMNS["podcasts"]),
            *checks.row_count("shows", previous=previous_rows, max_shrink=max_shrink),
            checks.kept("unreadable", malformed, rows_read, max_quarantined_share),
            *checks.rows(ExpectColumnValuesToNotBeNull, "uuid", "Every show has an id", floor=floor),
            *checks.rows(ExpectColumnValuesToBeUnique, "uuid", "No two shows share an id", floor=floor),
            *checks.rows(
                ExpectColumnValuesToMatchRegex, "uuid", "Ids are usable as index keys", floor=floor, regex=USABLE_ID
            ),
            *checks.rows(ExpectColumnValuesToNotBeNull, "title", "Shows have a title", mostly=0.99, floor=floor),
            *checks.rows(ExpectColumnValuesToNotBeNull, "description", "Shows have a description", mostly=0.3),
            *checks.rows(ExpectColumnValuesToNotBeNull, "language", "Shows name their language", mostly=0.5),
            *checks.language(),
            *checks.length("title_chars", "Show titles have a plausible length", 1, 500),
            *checks.length("description_chars", "Show descriptions have a plausible length", 1, 20_000),
        ],
    )


def raw_episodes(
    *,
    malformed: int,
    rows_read: int,
    max_quarantined_share: float,
    max_shrink: float,
    previous_rows: int | None = None,
) -> ExpectationSuite:
    """Suite of :func:`include.quality.frames.raw_episodes`; the parameters are those of :func:`raw_podcasts`."""
    floor = 1 - max_quarantined_share
    not_null = ExpectColumnValuesToNotBeNull
    return ExpectationSuite(
        name="raw_episodes",
        expectations=[
            checks.has_columns(COLUMNS["episodes"]),
            *checks.row_count("episodes", previous=previous_rows, max_shrink=max_shrink),
            checks.kept("unreadable", malformed, rows_read, max_quarantined_share),
            *checks.rows(not_null, "uuid", "Every episode has an id", floor=floor),
            *checks.rows(ExpectColumnValuesToBeUnique, "uuid", "No two episodes share an id", floor=floor),
            *checks.rows(
                ExpectColumnValuesToMatchRegex, "uuid", "Ids are usable as index keys", floor=floor, regex=USABLE_ID
            ),
            *checks.rows(not_null, "podcast_uuid", "Every episode names its show", floor=floor),
            *checks.true("podcast_known", "The show of an episode is in podcasts.csv", mostly=0.98, floor=floor),
            *checks.rows(not_null, "title", "Episodes have a title", mostly=0.99, floor=floor),
            *checks.rows(not_null, "description", "Episodes have a description", mostly=0.85, floor=floor),
            *checks.length("title_chars", "Titles have a plausible length", 1, 500),
            *checks.length("description_chars", "Descriptions have a plausible length", 1, 50_000),
            *checks.rows(not_null, "pub_date", "Episodes have a date", mostly=0.9),
            *checks.readable("date_as_read", "Dates can be read", mostly=0.99, floor=floor),
            *checks.recent(),
            *checks.readable("length_as_read", "Lengths can be read", mostly=0.95),
        ],
    )


def episodes(
    *,
    quarantined: int,
    rows_read: int,
    max_quarantined_share: float,
    max_shrink: float,
    max_text_chars: int = MAX_TEXT_CHARS,
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
    required = ("podcast_id", "title", "show_title", "text", "content_hash")
    return ExpectationSuite(
        name="episodes",
        expectations=[
            checks.has_columns(EPISODES.names),
            *checks.row_count("episodes", previous=previous_rows, max_shrink=max_shrink),
            checks.kept("in quarantine", quarantined, rows_read, max_quarantined_share),
            checks.critical(ExpectColumnValuesToNotBeNull, "episode_id", "Every episode has an id"),
            checks.critical(ExpectColumnValuesToBeUnique, "episode_id", "No two episodes share an id"),
            checks.critical(
                ExpectColumnValuesToMatchRegex, "episode_id", "Ids are usable as index keys", regex=USABLE_ID
            ),
            *(checks.critical(ExpectColumnValuesToNotBeNull, name, f"Every episode has a {name}") for name in required),
            checks.critical(
                ExpectColumnValuesToMatchRegex, "content_hash", "Content hashes are well formed", regex=CONTENT_HASH
            ),
            checks.critical(ExpectColumnValuesToBeBetween, "title_chars", "No title is empty", min_value=1),
            checks.critical(
                ExpectColumnValuesToBeBetween,
                "description_chars",
                "No description is blank or longer than the cut",
                min_value=1,
                max_value=max_text_chars,
            ),
            *checks.length("text_chars", "Texts are long enough to be found", 20, None),
            checks.critical(
                ExpectColumnValuesToBeBetween,
                "published_year",
                "No date is one that preparation refuses",
                min_value=EARLIEST.year,
                max_value=LATEST.year - 1,
            ),
            *checks.recent(),
            *checks.rows(
                ExpectColumnValuesToNotBeNull,
                "description",
                "Episodes have a description",
                mostly=0.85,
                floor=1 - max_quarantined_share,
            ),
            *checks.rows(ExpectColumnValuesToNotBeNull, "published_at", "Episodes have a date", mostly=0.9),
            *checks.rows(ExpectColumnValuesToNotBeNull, "language", "Episodes name their language", mostly=0.5),
            *checks.rows(ExpectColumnValuesToNotBeNull, "show_description", "Shows have a description", mostly=0.1),
            *checks.language(),
            *checks.rows(
                ExpectColumnValuesToBeBetween,
                "duration_seconds",
                "Episodes last between a second and two days",
                mostly=0.99,
                min_value=1,
                max_value=172_800,
            ),
            *checks.rows(
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


def queries(*, max_dropped_share: float = 0.8, least_covered_share: float = 0.2) -> ExpectationSuite:
    """Suite of :func:`include.quality.frames.queries`: what a model is to be trained on.

    What the filter and the split guarantee is critical: if it does not hold, the code is wrong, and a model that was
    trained on it would look better than it is.

    :param max_dropped_share: share of the written queries (0 to 1) that the filter may drop. More means that the
        generator writes rubbish, or in another language than the catalogue's; from half of them on it is a warning.
    :param least_covered_share: share of the episodes (0 to 1) that must have a query, or the model would learn from an
        odd few of them; below half of them it is a warning.
    """
    critical, warning = FailureSeverity.CRITICAL, FailureSeverity.WARNING
    dropped, covered = "Share of the written queries that were dropped", "Share of the episodes that have a query"
    distinct = "Share of distinct ones among the queries that were kept"
    return ExpectationSuite(
        name=QUERIES,
        expectations=[
            ExpectTableRowCountToBeBetween(min_value=1, severity=critical, description="There are queries"),
            checks.figure("dropped", dropped, warning, most=50),
            checks.figure("dropped", f"{dropped}, no flood", critical, most=100 * max_dropped_share),
            checks.figure("covered", covered, warning, least=50),
            checks.figure("covered", f"{covered}, no collapse", critical, least=100 * least_covered_share),
            checks.figure("per_episode", "Queries per episode, on average", warning, least=1, unit=""),
            checks.figure("distinct", distinct, warning, least=80),
            checks.critical(ExpectColumnValuesToNotBeNull, "query", "No query is blank"),
            checks.critical(ExpectColumnValuesToNotBeNull, "positive", "Every query has a text to find"),
            *checks.rows(
                ExpectColumnValuesToBeBetween,
                "query_words",
                "Queries have a plausible length",
                mostly=0.95,
                floor=0.5,
                min_value=2,
                max_value=30,
            ),
            checks.critical(ExpectColumnValuesToBeInSet, "split", "Splits are known", value_set=list(SPLITS)),
            checks.critical(
                ExpectColumnValuesToBeInSet,
                "one_split",
                "All queries of an episode are on one side of the split",
                value_set=[True],
            ),
            checks.critical(ExpectColumnValuesToBeInSet, "curated", "No query is a curated one", value_set=[False]),
            *checks.rows(
                ExpectColumnValuesToNotBeNull, "language", "Queries are of episodes whose language is known", mostly=0.5
            ),
            *checks.language(),
        ],
    )
