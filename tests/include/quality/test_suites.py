"""Each suite passes on good data and notices each kind of bad data, with the severity that it deserves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from include.quality.result import QualityError, require
from tests.include.quality.conftest import Check

ALL = slice(None)
ONE = slice(0, 1)
SOME = slice(0, 60)
"""More than a tenth of the rows, fewer than may be quarantined."""
HALF = slice(0, 100)

Mutation = Callable[[Any], Any]


def put(column: str, value: Any, rows: slice) -> Mutation:
    """Overwrite a column in some rows of a raw table or a prepared one."""

    def mutate(table: Any) -> Any:
        if isinstance(table, pa.Table):
            values = table[column].to_pylist()
            values[rows] = [value] * len(values[rows])
            place = table.column_names.index(column)
            return table.set_column(place, column, pa.array(values, table.schema.field(column).type))
        frame = table.copy()
        frame.loc[frame.index[rows], column] = value
        return frame

    return mutate


def without(column: str) -> Mutation:
    return lambda table: table.drop_columns([column]) if isinstance(table, pa.Table) else table.drop(columns=column)


def test_good_data_passes_without_a_warning(
    check: Check, podcasts: pd.DataFrame, raw_episodes: pd.DataFrame, episodes: pa.Table, pairs: pa.Table
) -> None:
    tables = {"raw_podcasts": podcasts, "raw_episodes": raw_episodes, "episodes": episodes, "queries": pairs}
    for suite, table in tables.items():
        result = check(suite, table)

        assert result.success
        assert [item for item in result.outcomes if not item.success] == []


RAW_PODCASTS = [
    (without("title"), "The required columns are there", "critical"),
    (put("uuid", None, ONE), "Every show has an id", "warning"),
    (put("uuid", None, HALF), "Every show has an id", "critical"),
    (put("uuid", "p1", slice(0, 2)), "No two shows share an id", "warning"),
    (put("uuid", "p1", HALF), "No two shows share an id", "critical"),
    (put("uuid", "an id", ONE), "Ids are usable as index keys", "warning"),
    (put("title", " ", SOME), "Shows have a title", "warning"),
    (put("title", "", HALF), "Shows have a title", "critical"),
    (put("title", "x" * 501, SOME), "Show titles have a plausible length", "warning"),
    (put("description", None, slice(0, 190)), "Shows have a description", "warning"),
    (put("language", None, slice(0, 190)), "Shows name their language", "warning"),
    (put("language", "http://example.org", SOME), "Languages are names or codes", "warning"),
]
RAW_EPISODES = [
    (without("podcast_uuid"), "The required columns are there", "critical"),
    (put("uuid", None, ONE), "Every episode has an id", "warning"),
    (put("uuid", None, HALF), "Every episode has an id", "critical"),
    (put("uuid", "e1", slice(0, 2)), "No two episodes share an id", "warning"),
    (put("uuid", "e1", HALF), "No two episodes share an id", "critical"),
    (put("podcast_uuid", None, ONE), "Every episode names its show", "warning"),
    (put("podcast_uuid", "p999", SOME), "The show of an episode is in podcasts.csv", "warning"),
    (put("podcast_uuid", "p999", HALF), "The show of an episode is in podcasts.csv", "critical"),
    (put("title", None, SOME), "Episodes have a title", "warning"),
    (put("title", None, HALF), "Episodes have a title", "critical"),
    (put("description", None, SOME), "Episodes have a description", "warning"),
    (put("description", None, HALF), "Episodes have a description", "critical"),
    (put("description", "x" * 50_001, SOME), "Descriptions have a plausible length", "warning"),
    (put("pub_date", None, SOME), "Episodes have a date", "warning"),
    (put("pub_date", "the day before", SOME), "Dates can be read", "warning"),
    (put("pub_date", "the day before", HALF), "Dates can be read", "critical"),
    (put("pub_date", "2099-01-01 00:00:00+00", SOME), "Dates are plausible", "warning"),
    (put("pub_date", "2101-01-01 00:00:00+00", SOME), "Dates can be read", "warning"),
    (put("audio_length", "-3", SOME), "Lengths can be read", "warning"),
]
EPISODES = [
    (without("content_hash"), "The required columns are there", "critical"),
    (put("episode_id", "e1", slice(0, 2)), "No two episodes share an id", "critical"),
    (put("episode_id", "é", ONE), "Ids are usable as index keys", "critical"),
    (put("episode_id", None, ONE), "Every episode has an id", "critical"),
    (put("show_title", None, ONE), "Every episode has a show_title", "critical"),
    (put("podcast_id", None, ONE), "Every episode has a podcast_id", "critical"),
    (put("title", None, ONE), "Every episode has a title", "critical"),
    (put("title", "", ONE), "No title is empty", "critical"),
    (put("description", None, SOME), "Episodes have a description", "warning"),
    (put("description", None, HALF), "Episodes have a description", "critical"),
    (put("description", "", ONE), "No description is blank or longer than the cut", "critical"),
    (put("description", "x" * 20_001, ONE), "No description is blank or longer than the cut", "critical"),
    (put("text", None, ONE), "Every episode has a text", "critical"),
    (put("text", "Short.", SOME), "Texts are long enough to be found", "warning"),
    (put("text", "Hello <br> and welcome to the show", SOME), "No HTML is left in the text", "warning"),
    (put("content_hash", "ABC", ONE), "Content hashes are well formed", "critical"),
    (put("content_hash", "0" * 24, SOME), "Most episodes have a text of their own", "warning"),
    (put("published_at", datetime(1899, 1, 1, tzinfo=UTC), ONE), "No date is one that preparation refuses", "critical"),
    (put("published_at", datetime(2099, 1, 1, tzinfo=UTC), SOME), "Dates are plausible", "warning"),
    (put("published_at", None, SOME), "Episodes have a date", "warning"),
    (put("language", None, slice(0, 190)), "Episodes name their language", "warning"),
    (put("language", "%%", SOME), "Languages are names or codes", "warning"),
    (put("duration_seconds", 10**6, SOME), "Episodes last between a second and two days", "warning"),
    (put("show_description", None, slice(0, 195)), "Shows have a description", "warning"),
]

QUERIES = [
    (put("query", " ", ONE), "No query is blank", "critical"),
    (put("query", "why", SOME), "Queries have a plausible length", "warning"),
    (put("query", "why", slice(0, 120)), "Queries have a plausible length (at least 50%", "critical"),
    (put("query", "word " * 31, SOME), "Queries have a plausible length", "warning"),
    (put("query", "why is that so", SOME), "Share of distinct ones", "warning"),
    (put("query", "Why is  THAT", ONE), "No query is a curated one", "critical"),
    (put("split", "dev", ONE), "Splits are known", "critical"),
    (put("split", "eval", ONE), "All queries of an episode are on one side of the split", "critical"),
]


def _noticed(result: Any, what: str, severity: str) -> bool:
    failed = result.critical if severity == "critical" else result.warnings
    return any(item.what.startswith(what) for item in failed)


@pytest.mark.parametrize(("mutate", "what", "severity"), RAW_PODCASTS)
def test_raw_podcasts(check: Check, podcasts: pd.DataFrame, mutate: Mutation, what: str, severity: str) -> None:
    result = check("raw_podcasts", mutate(podcasts))

    assert _noticed(result, what, severity)
    assert result.success == (severity == "warning")


@pytest.mark.parametrize(("mutate", "what", "severity"), RAW_EPISODES)
def test_raw_episodes(check: Check, raw_episodes: pd.DataFrame, mutate: Mutation, what: str, severity: str) -> None:
    result = check("raw_episodes", mutate(raw_episodes))

    assert _noticed(result, what, severity)
    assert result.success == (severity == "warning")


@pytest.mark.parametrize(("mutate", "what", "severity"), EPISODES)
def test_prepared_episodes(check: Check, episodes: pa.Table, mutate: Mutation, what: str, severity: str) -> None:
    result = check("episodes", mutate(episodes))

    assert _noticed(result, what, severity)
    assert result.success == (severity == "warning")


@pytest.mark.parametrize(
    ("limits", "what", "severity"),
    [
        ({"previous_rows": 251}, "At most 20% fewer episodes than the 251", "critical"),
        ({"previous_rows": 66}, "At most 3 times the 66", "warning"),
        ({"quarantined": 110, "rows_read": 310}, "At most 35% of the 310 rows read are in quarantine", "critical"),
    ],
)
def test_counts_are_held_against_the_last_snapshot_and_the_quarantine(
    check: Check, episodes: pa.Table, limits: dict[str, int], what: str, severity: str
) -> None:
    result = check("episodes", episodes, **limits)

    assert [item.what.startswith(what) for item in (*result.critical, *result.warnings)] == [True]
    assert _noticed(result, what, severity)


@pytest.mark.parametrize(
    "limits",
    [{"previous_rows": 250}, {"previous_rows": 67}, {"quarantined": 107, "rows_read": 307}, {"previous_rows": None}],
)
def test_a_count_at_its_limit_passes(check: Check, episodes: pa.Table, limits: dict[str, int | None]) -> None:
    result = check("episodes", episodes, **limits)

    assert not result.critical
    assert not result.warnings


def test_a_raw_file_most_of_which_cannot_be_read_is_refused(check: Check, raw_episodes: pd.DataFrame) -> None:
    result = check("raw_episodes", raw_episodes, malformed=200, rows_read=400)

    assert [item.observed for item in result.critical] == ["200"]
    assert "200 are: 50.0%" in result.critical[0].what


def test_an_empty_table_is_refused(check: Check, episodes: pa.Table) -> None:
    result = check("episodes", episodes.slice(0, 0), previous_rows=None)

    assert [item.what for item in result.critical] == ["There are episodes"]


@pytest.mark.parametrize(("mutate", "what", "severity"), QUERIES)
def test_queries(check: Check, pairs: pa.Table, mutate: Mutation, what: str, severity: str) -> None:
    result = check("queries", mutate(pairs), curated=["why is that", "unasked"])

    assert _noticed(result, what, severity)
    assert result.success == (severity == "warning")


@pytest.mark.parametrize(
    ("facts", "what", "severity", "observed"),
    [
        ({"dropped": 201}, "Share of the written queries that were dropped", "warning", "50.12 %"),
        ({"dropped": 801}, "Share of the written queries that were dropped, no flood", "critical", "80.02 %"),
        ({"dropped": 240, "max_dropped_share": 0.5}, "Share of the written queries that were dropped, no flood",
         "critical", "54.55 %"),
        ({"episodes": 201}, "Queries per episode, on average", "warning", "0.995"),
        ({"episodes": 201}, "Share of the episodes that have a query", "warning", "49.75 %"),
        ({"episodes": 600}, "Share of the episodes that have a query, no collapse", "critical", "16.67 %"),
        ({"languages": {}}, "Queries are of episodes whose language is known", "warning",
         "200 of 200 values fail (100 %)"),
        ({"languages": {f"e{n}": "%%" for n in range(100)}}, "Languages are names or codes", "warning",
         "200 of 200 values fail (100 %)"),
    ],
)  # fmt: skip
def test_figures_of_the_queries(
    check: Check, pairs: pa.Table, facts: dict[str, Any], what: str, severity: str, observed: str
) -> None:
    result = check("queries", pairs, **facts)

    (failed,) = (item for item in result.outcomes if item.what == what)
    assert (failed.success, failed.severity, failed.observed) == (False, severity, observed)


@pytest.mark.parametrize("facts", [{"dropped": 200}, {"dropped": 799}, {"episodes": 200}])
def test_figures_at_their_limit_pass(check: Check, pairs: pa.Table, facts: dict[str, Any]) -> None:
    assert check("queries", pairs, **facts).success


def test_logged_queries_are_checked_and_count_in_no_figure(check: Check, pairs: pa.Table) -> None:
    """Many listeners ask the same; and what they asked says nothing about the generator."""
    logged = put("origin", "log:app", HALF)(put("query", "true crime stories", HALF)(pairs))
    result = check("queries", logged, episodes=50)
    assert [item.what for item in result.outcomes if not item.success] == []
    result = check("queries", put("query", " ", ONE)(logged), episodes=50)
    assert _noticed(result, "No query is blank", "critical")


def test_no_query_left_is_refused_with_what_to_do(check: Check, pairs: pa.Table) -> None:
    result = check("queries", pairs.slice(0, 0), dropped=300, episodes=100)
    assert result.critical[0].what == "There are queries"
    with pytest.raises(QualityError, match="train_retriever"):
        require(result)
