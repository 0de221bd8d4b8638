from __future__ import annotations

from pathlib import Path

import pytest

from include.evaluation.queries import CuratedQueriesError, QuerySet, load_curated

KNOWN = {"a", "b", "c"}


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_curated_queries_are_limited_to_the_catalogue_and_the_rest_is_counted(tmp_path: Path) -> None:
    file = write(
        tmp_path / "curated.csv",
        '\ufeffquery,episode_ids\r\n"sleep, and how",a|gone| b \r\nnobody has this,gone\r\n\r\ncoffee,c\r\n',
    )
    query_set, left_out = load_curated(file, KNOWN)
    assert query_set.queries == ["sleep, and how", "coffee"]
    assert query_set.relevant == [["a", "b"], ["c"]]
    assert query_set.origins == ["curated", "curated"]
    assert query_set.positives is None
    assert left_out == 1


def test_rows_that_ask_the_same_query_are_one_query(tmp_path: Path) -> None:
    """Two rows would each count the other's answer as wrong."""
    query_set, left_out = load_curated(write(tmp_path / "c.csv", "query,episode_ids\ntea,a\ntea,b|a\n"), KNOWN)
    assert (query_set.queries, query_set.relevant, left_out) == (["tea"], [["a", "b"]], 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "lacks the column episode_ids and query"),
        ("question,episode_ids\nx,a\n", "lacks the column query"),
        ("query,episode_ids\nx,\n", "line 2: needs a query and at least one episode id"),
        ("query,episode_ids\nx\n", "line 2: needs a query and at least one episode id"),
        ("query,episode_ids\n ,a\n", "line 2: needs a query"),
        ("query,episode_ids\nwhy, oh why,a\n", "line 2: too many fields"),
        ('query,episode_ids\n"never closed,a\n', "unexpected end of data"),
        ("query,episode_ids\ncafé,a\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_malformed_file_is_refused_with_what_is_wrong(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(CuratedQueriesError, match=message):
        load_curated(write(tmp_path / "curated.csv", content), KNOWN)


def test_a_query_set_whose_lists_do_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        QuerySet("test", ["one", "two"], [["a"]], ["title"])
    with pytest.raises(ValueError, match="differ in length"):
        QuerySet("test", ["one"], [["a"]], ["title"], positives=[])
    with pytest.raises(ValueError, match="needs a relevant episode"):
        QuerySet("test", ["one"], [[]], ["title"])
