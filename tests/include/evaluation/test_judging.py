"""Judging in the terminal, on a live index."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from include.evaluation.__main__ import main
from include.evaluation.judging import ANSWERS
from include.evaluation.queries import read_judged
from include.settings import PROJECT, get_settings
from tests.include.search.catalogue import MARKUP, make_live

GARDEN, SPACE = "tomato garden", "rocket moon"
Judge = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which fifteen episodes are live."""
    return make_live(tmp_path_factory.mktemp("judging"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "curated.csv"
    file.write_text(f"query,episode_ids\n{GARDEN},e0020\n{SPACE},e0030\n")
    return file


@pytest.fixture
def judge(
    home: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Judge]:
    """Run the command with these answers: exit status, output, errors."""

    def run(answers: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(answers))
        status = main(["judge", *arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    for name in [name for name in os.environ if name.startswith("PODSEARCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PODSEARCH_HOME", str(home))
    monkeypatch.setenv("PODSEARCH_CURATED_QUERIES", str(file))
    monkeypatch.setenv("COLUMNS", "160")
    get_settings.cache_clear()
    yield run
    get_settings.cache_clear()


def waiting(printed: str) -> list[int]:
    """How many episodes of each query were to be judged."""
    return [int(number) for number in re.findall(r"(\d+) to judge", printed)]


def test_each_answer_is_kept_and_not_asked_for_again(judge: Judge, file: Path) -> None:
    status, out, _ = judge("0\n2\ns\n1\nq\n")
    assert status == 0
    assert "3 judged" in out
    (before,) = waiting(out)
    assert "Query 1 of 2" in out
    assert sorted(read_judged(file)[GARDEN].values()) == [0, 1, 2, 2]
    assert waiting(judge("q\n")[1]) == [before - 3], "what was skipped is asked again, a 0 is not"


def test_a_query_is_done_when_all_was_judged(judge: Judge, file: Path) -> None:
    _, out, _ = judge("0\n" * 100)
    assert len(waiting(out)) == 2
    assert len(read_judged(file)[SPACE]) == waiting(out)[1] + 1, "the answer that was known was not asked for"
    assert waiting(judge("")[1]) == []


def test_words_and_meaning_are_pooled(judge: Judge) -> None:
    """Ten by either side, of fifteen; what neither has is not asked about."""
    (number,) = waiting(judge("", "--query", "tomato zzz")[1])
    assert 10 <= number <= 15


def test_the_end_of_the_input_and_other_answers_judge_nothing(judge: Judge, file: Path) -> None:
    before = file.read_bytes()
    status, out, _ = judge("3\nyes\n\n20\n")
    assert (status, file.read_bytes()) == (0, before)
    assert out.count("s(kip)") == 5
    assert "Nothing was judged." in out


def test_one_query_may_be_new(judge: Judge, file: Path) -> None:
    _, out, _ = judge("0\n1\n", "--query", " cooking, of rice\udce9 ")
    assert GARDEN not in out
    judged = read_judged(file)
    assert list(judged) == [GARDEN, SPACE, "cooking, of rice?"]
    assert sorted(judged["cooking, of rice?"].values()) == [0, 1]


def test_a_file_is_made_by_the_first_answer(judge: Judge, file: Path) -> None:
    file.unlink()
    for arguments in ((), ("--query", " ")):
        assert judge("", *arguments)[2] == f"Name a query with --query, or write queries into {file}.\n"
    judge("2\n", "--query", GARDEN)
    assert list(read_judged(file)) == [GARDEN]


def test_podcast_text_is_shown_as_it_is(judge: Judge) -> None:
    """It is anyone's: it must not colour the terminal or make links."""
    _, out, _ = judge("s\n" * 40)
    assert MARKUP in out
    assert "\x1b]8" not in out
    assert "2017-12-01" in out


@pytest.mark.parametrize(
    ("content", "message"),
    [("query,episode_ids,grades\ntea,a,9\n", "line 2: '9' is not a grade"), ("nothing\n", "lacks the column")],
)
def test_a_file_that_cannot_be_used_is_named_in_one_line(judge: Judge, file: Path, content: str, message: str) -> None:
    file.write_text(content)
    status, _, errors = judge("0\n")
    assert status == 1
    assert message in errors
    assert len(errors.splitlines()) == 1


def test_without_a_file_it_says_how_to_name_one(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.settings.Settings.curated_queries_path", None)
    assert judge("0\n")[2].endswith("name their file by PODSEARCH_CURATED_QUERIES.\n")
    assert set(ANSWERS) == {"0", "1", "2", "s", "q", "skip", "quit"}


def test_a_session_that_is_killed_has_kept_its_answers(home: Path, file: Path, tmp_path: Path) -> None:
    """Each is in the file before the next is asked for."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PODSEARCH_")}
    environment |= {"PODSEARCH_HOME": str(home), "PODSEARCH_CURATED_QUERIES": str(file), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "include.evaluation", "judge", "--query", GARDEN],
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    shown = ""
    with process:
        for answers in (1, 2, 3):
            while shown.count("q(uit): ") < answers:
                sign = process.stdout.read(1)
                assert sign, "it ended"
                shown += sign
            if answers < 3:
                process.stdin.write("0\n")
                process.stdin.flush()
        process.kill()
    assert sorted(read_judged(file)[GARDEN].values()) == [0, 0, 2]
    assert [path.name for path in tmp_path.iterdir() if path.suffix not in {".csv", ".lock"}] == []
