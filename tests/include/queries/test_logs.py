from __future__ import annotations

from pathlib import Path

import pytest

from include.queries.contract import Query
from include.queries.logs import LoggedQuery, SearchLogError, SearchLogs, is_logged, load_logs
from tests.include.queries.passages import passage

KNOWN = {"a", "b"}


def load(folder: Path, content: str | bytes, *, curated: list[str] | None = None) -> SearchLogs:
    file = folder / "logs.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_logs([file], KNOWN, curated=curated or [])


def test_rows_become_queries_of_their_episode(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        "\ufeffquery,episode_id,weight,source\r\n"
        '"sleep,  and how",a,3,Search 2024\r\n'
        "\r\n"
        ", ,,\r\n"  # which a spreadsheet leaves behind
        "coffee, b ,,\r\n"
        "tea,a,0.5,reformulation\r\n",
    )
    assert found.by_episode == {
        "a": [LoggedQuery("sleep, and how", "log:search_2024", 3.0), LoggedQuery("tea", "log:reformulation", 0.5)],
        "b": [LoggedQuery("coffee", "log", 1.0)],
    }
    assert (found.unknown, found.curated) == (0, 0)


def test_weight_and_source_may_be_left_out(tmp_path: Path) -> None:
    assert load(tmp_path, "episode_id,query\na,tea\n").by_episode == {"a": [LoggedQuery("tea", "log", 1.0)]}


def test_rows_of_one_query_and_episode_are_one_with_the_sum_of_their_weights(tmp_path: Path) -> None:
    rows = "query,episode_id,weight,source\nGreen tea,a,2,app\ngreen  TEA,a,3,app\ngreen tea,b,5,app\n"
    assert load(tmp_path, rows).by_episode == {
        "a": [LoggedQuery("Green tea", "log:app", 5.0)],
        "b": [LoggedQuery("green tea", "log:app", 5.0)],
    }
    mixed = rows + "green tea,a,1,web\n"
    assert load(tmp_path, mixed).by_episode["a"] == [LoggedQuery("Green tea", "log", 6.0)]


def test_unknown_episodes_are_counted_and_left_out(tmp_path: Path) -> None:
    found = load(tmp_path, "query,episode_id\ntea,gone\ncoffee,gone\ntea,a\n")
    assert list(found.by_episode) == ["a"]
    assert found.unknown == 2


def test_curated_queries_never_train(tmp_path: Path) -> None:
    """They measure the model: one that was trained on them would only have learnt them by heart."""
    found = load(
        tmp_path, "query,episode_id\nWhy  We Sleep,a\nwhy we sleep,gone\ntea,a\n", curated=["why we SLEEP", "unasked"]
    )
    assert [query.text for query in found.by_episode["a"]] == ["tea"]
    assert (found.curated, found.unknown) == (2, 0)


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        ("Reformulation!", "log:reformulation"),
        ("../../etc", "log:etc"),
        ("<b>app</b>", "log:b_app_b"),
        ("поиск", "log"),
        (" ", "log"),
        ("x" * 99, "log:" + "x" * 40),
    ],
)
def test_a_source_becomes_a_plain_label(tmp_path: Path, source: str, origin: str) -> None:
    (query,) = load(tmp_path, f"query,episode_id,source\ntea,a,{source}\n").by_episode["a"]
    assert query.origin == origin
    assert is_logged(origin)


def test_generated_queries_are_not_logged() -> None:
    assert not any(map(is_logged, ["title", "doc2query", "logic", ""]))


def test_a_logged_query_must_find_the_whole_text() -> None:
    own = passage()
    assert LoggedQuery("tea", "log:app", 2.0).find(own) == Query("tea", "log:app", own.text())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "lacks the column episode_id and query"),
        ("query,episode\ntea,a\n", "lacks the column episode_id: its first line must be query,episode_id"),
        ("query,episode_id\ntea,a\n ,a\n", "line 3: needs a query and an episode id"),
        ("query,episode_id\ntea\n", "line 2: needs a query and an episode id"),
        ("query,episode_id\ntea, green,a\n", "line 2: too many fields; quote a query"),
        ("query,episode_id,weight\ntea,a,much\n", "line 2: the weight 'much' is not a number above zero"),
        ("query,episode_id,weight\ntea,a,0\n", "line 2: the weight '0' is not a number above zero"),
        ("query,episode_id,weight\ntea,a,-1\n", "line 2: the weight '-1'"),
        ("query,episode_id,weight\ntea,a,nan\n", "line 2: the weight 'nan'"),
        ("query,episode_id,weight\ntea,a,inf\n", "line 2: the weight 'inf'"),
        ("query,episode_id,weight\ntea,a,1e308\ntea,a,1e308\n", "the weights of 'tea' add up to more"),
        ('query,episode_id\ntea,a\n"never closed,a\n', "after line 2: unexpected end of data"),
        ("query,episode_id\ncafé,a\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_malformed_file_is_refused_with_what_is_wrong(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(SearchLogError, match=message):
        load(tmp_path, content)


def test_a_file_that_is_not_there_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(SearchLogError, match="PODSEARCH_SEARCH_LOGS"):
        load_logs([tmp_path / "nowhere.csv"], KNOWN, curated=[])
