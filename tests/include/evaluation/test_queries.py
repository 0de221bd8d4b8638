from __future__ import annotations

from pathlib import Path

import pytest

from include.evaluation.queries import (
    CuratedQueriesError,
    QuerySet,
    add_judgement,
    load_curated,
    read_curated,
    read_judged,
)

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


def test_grades_say_how_well_an_episode_answers_and_the_best_answers_come_first(tmp_path: Path) -> None:
    rows = ["query,episode_ids,grades,kind", "tea,c|a|b|gone,1|2|0|2,topic", "coffee,a|b|c,|1,vague", "wine,a,,"]
    file = write(tmp_path / "c.csv", "\n".join(rows))
    query_set, left_out = load_curated(file, KNOWN)
    assert query_set.relevant == [["a", "c"], ["a", "c", "b"], ["a"]]
    assert query_set.judged == [{"c": 1, "a": 2, "b": 0}, {"a": 2, "b": 1, "c": 2}, {"a": 2}]
    assert left_out == 0
    assert read_curated(file)["tea"] == ["a", "gone", "c"]


def test_of_several_grades_of_an_episode_the_highest_counts(tmp_path: Path) -> None:
    file = write(tmp_path / "c.csv", "query,episode_ids,grades\ntea,a|b,1|0\ntea,a|b|b,0|0|1\n")
    assert read_judged(file) == {"tea": {"a": 1, "b": 1}}


def test_a_query_that_nothing_answers_is_not_asked(tmp_path: Path) -> None:
    """It was judged, and that is remembered; but it is none whose episodes the catalogue lacks."""
    file = write(tmp_path / "c.csv", "query,episode_ids,grades\ntea,a,0\ncoffee,b,2\nwine,c|gone,0|2\n")
    query_set, left_out = load_curated(file, KNOWN)
    assert (query_set.queries, left_out) == (["coffee"], 1)
    assert read_curated(file) == {"coffee": ["b"], "wine": ["gone"]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("query,episode_ids,grades\ntea,a,2", "query,episode_ids,grades\ntea,a,2\ntea,b,0\n"),
        (
            'kind,query,grades,episode_ids\r\n"topic, big",tea ,,a\r\n',
            'kind,query,grades,episode_ids\r\n"topic, big",tea ,,a\r\n"topic, big",tea,0,b\r\n',
        ),
        (
            '\ufeffquery,episode_ids,kind\r\n"a, b",a|b,x\r\n\r\ntea,a,y\r\n',
            '\ufeffquery,episode_ids,grades,kind\r\n"a, b",a|b,,x\r\ntea,a,,y\r\ntea,b,0,y\r\n',
        ),
        (None, "query,episode_ids,grades\ntea,b,0\n"),
    ],
)
def test_a_judgement_is_appended_and_the_rest_stays(tmp_path: Path, before: str | None, after: str) -> None:
    """A file is somebody's own: it keeps its columns, their order, its line ends and what it says."""
    file = tmp_path / "c.csv"
    if before is not None:
        write(file, before)
    add_judgement(file, "tea", "b", 0)
    assert file.read_bytes().decode() == after
    assert read_judged(file)["tea"]["b"] == 0


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("query", ["winter\rsleep", "winter\nsleep", "winter\r\nsleep", '"winter", sleep'])
def test_whatever_a_query_holds_the_file_can_be_read_again(tmp_path: Path, query: str, end: str) -> None:
    """A cell of a spreadsheet may have several lines, and what is pasted into a terminal a carriage return."""
    file = tmp_path / "queries.csv"
    quoted = query.replace('"', '""')
    file.write_bytes(f'query,episode_ids{end}"{quoted}",e1{end}'.encode())
    add_judgement(file, query, "e2", 1)
    add_judgement(file, f"{query}?", "e3", 0)
    assert read_judged(file) == {query: {"e1": 2, "e2": 1}, f"{query}?": {"e3": 0}}


def test_rows_that_a_spreadsheet_leaves_empty_are_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "queries.csv"
    file.write_text("query,episode_ids,grades\nowls,e1,\n,,\n , ,\n")
    assert read_judged(file) == {"owls": {"e1": 2}}
    add_judgement(file, "owls", "e2", 0)
    assert read_judged(file) == {"owls": {"e1": 2, "e2": 0}}


def test_a_judgement_reaches_what_a_link_names(tmp_path: Path) -> None:
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    link.symlink_to(real)
    add_judgement(link, 'why, "oh why"', "a", 1)
    assert link.is_symlink()
    assert read_judged(real) == {'why, "oh why"': {"a": 1}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("query,episode_ids,grades\ntea,a,2\ncoffee,a|b,2|3\n", "line 3: '3' is not a grade; use 2, 1 or 0"),
        ("query,episode_ids,grades\ntea,a,good\n", "line 2: 'good' is not a grade"),
        ("query,episode_ids,grades\ntea,a,1|2\n", "line 2: has 2 grades for 1 episode ids"),
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
