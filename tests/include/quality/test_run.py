from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from great_expectations.execution_engine import pandas_execution_engine

from include.quality.result import QualityError, require
from include.storage import ArtifactStore
from tests.include.quality.conftest import Check


def files(store: ArtifactStore) -> list[str]:
    root = Path(str(store.root))
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_an_outcome_says_what_was_found_and_what_was_wanted(check: Check, raw_episodes: pd.DataFrame) -> None:
    raw_episodes.loc[:49, "title"] = None

    (warning,) = check("raw_episodes", raw_episodes).warnings

    assert warning.what == "Episodes have a title"
    assert warning.column == "title"
    assert warning.observed == "50 of 200 values fail (25 %)"
    assert warning.expected == "at least 99% of values"
    assert warning.samples == ["e0", "e1", "e2", "e3", "e4"], "null says nothing: the rows are named"


def test_rows_are_named_where_a_check_only_says_yes_or_no(check: Check, raw_episodes: pd.DataFrame) -> None:
    raw_episodes.loc[7:57, "podcast_uuid"] = "unknown"

    (warning,) = (item for item in check("raw_episodes", raw_episodes).warnings if item.column == "podcast_known")

    assert warning.samples == ["e7", "e8", "e9", "e10", "e11"]


def test_dates_that_cannot_be_read_are_shown(check: Check, raw_episodes: pd.DataFrame) -> None:
    raw_episodes["pub_date"] = "Di, 02 Mai 2017"

    with pytest.raises(
        QualityError, match=r"Dates can be read .* values fail \(100 %\), such as 'Di, 02 Mai 2017 in e0'"
    ):
        require(check("raw_episodes", raw_episodes))


def test_lengths_are_shown_as_whole_numbers(check: Check, store: ArtifactStore, raw_episodes: pd.DataFrame) -> None:
    raw_episodes.loc[:49, "title"] = "x" * 501

    (warning,) = check("raw_episodes", raw_episodes).warnings

    assert warning.samples[0] == "501 in e0"
    page = store.read_bytes("quality", "run", "data_docs", "raw_episodes.html").decode()
    assert "501.0" not in page


def test_a_missing_column_is_named(check: Check, raw_episodes: pd.DataFrame) -> None:
    result = check("raw_episodes", raw_episodes.drop(columns=["title", "description"]))

    assert result.critical[0].observed == "missing: description, title"
    assert {"there is no column title", "there is no column description"} <= {item.observed for item in result.critical}


def test_nothing_of_this_machine_or_of_whole_columns_is_stored(
    check: Check, store: ArtifactStore, raw_episodes: pd.DataFrame
) -> None:
    long = raw_episodes.assign(uuid="a long id " * 1_000).drop(columns="title")

    check("raw_episodes", long)

    for name in files(store):
        content = (Path(str(store.root)) / name).read_text()
        assert "Traceback" not in content
        assert "site-packages" not in content
        assert "a long id " * 20 not in content
        assert len(content) < 100_000


def test_great_expectations_does_not_flood_the_log(
    check: Check, podcasts: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        check("raw_podcasts", podcasts)

    assert [record.name for record in caplog.records if record.name.startswith("great_expectations")] == []


def test_no_fingerprint_is_made_of_the_values_of_a_table(
    check: Check, podcasts: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would cost more than the checks; a new version of Great Expectations may have another way to leave it out."""

    def refuse(table: pd.DataFrame) -> str:
        raise AssertionError("hashes every value")

    monkeypatch.setattr(pandas_execution_engine, "hash_pandas_dataframe", refuse)

    assert check("raw_podcasts", podcasts).success


def test_the_suites_of_a_run_share_one_index_whatever_their_order(
    check: Check, store: ArtifactStore, podcasts: pd.DataFrame, raw_episodes: pd.DataFrame, episodes: pa.Table
) -> None:
    for suite, table in (("episodes", episodes), ("raw_podcasts", podcasts), ("raw_episodes", raw_episodes)):
        check(suite, table)

    index = store.read_bytes("quality", "run", "data_docs", "index.html").decode()
    for suite in ("raw_podcasts", "raw_episodes", "episodes"):
        assert index.count(f'href="{suite}.html"') == 1
        assert store.exists("quality", "run", "data_docs", f"{suite}.html")
        assert store.read_json("quality", "run", f"{suite}.json")["success"]


def test_a_retry_replaces_the_result_and_adds_nothing(
    check: Check, store: ArtifactStore, raw_episodes: pd.DataFrame
) -> None:
    check("raw_episodes", raw_episodes.assign(title=None))
    before = files(store)
    assert "Failed" in store.read_bytes("quality", "run", "data_docs", "index.html").decode()

    result = check("raw_episodes", raw_episodes)

    assert files(store) == before
    assert "Failed" not in store.read_bytes("quality", "run", "data_docs", "index.html").decode()
    assert store.read_json("quality", "run", "raw_episodes.json") == result.model_dump(mode="json")


def test_runs_do_not_share_a_folder(check: Check, store: ArtifactStore, podcasts: pd.DataFrame) -> None:
    check("raw_podcasts", podcasts, run_name="scheduled__2026-01-01T00:00:00+00:00")
    check("raw_podcasts", podcasts, run_name="manual")

    assert store.names("quality") == ["manual", "scheduled__2026-01-01T00:00:00+00:00"]


@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", ".hidden", "x" * 201])
def test_a_run_name_cannot_leave_its_folder(check: Check, podcasts: pd.DataFrame, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a folder"):
        check("raw_podcasts", podcasts, run_name=name)
