from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from include.search.__main__ import main, results_table
from include.search.service import Result
from include.settings import get_settings
from tests.include.index.contract import metadata
from tests.include.search.catalogue import MARKUP

PROJECT = Path(__file__).resolve().parents[3]
Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Ask]:
    """Run the command in a home (the one with a live index unless told): exit status, output, errors."""

    def run(*arguments: str, at: Path = home) -> tuple[int, str, str]:
        monkeypatch.setenv("PODSEARCH_HOME", str(at))
        get_settings.cache_clear()
        status = main(list(arguments))
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    for name in [name for name in os.environ if name.startswith("PODSEARCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "160")
    yield run
    get_settings.cache_clear()


def test_it_prints_rank_score_title_show_and_date(ask: Ask) -> None:
    status, out, _ = ask("rocket. space rocket moon orbit planet star. space.", "-k", "2")
    assert status == 0
    first = next(line for line in out.splitlines() if "rocket" in line and "│" in line)
    cells = [cell.strip() for cell in first.strip("│").split("│")]
    assert cells == ["1", "1.000", "rocket", "space", "2017-12-01"]
    assert sum(line.startswith("│") for line in out.splitlines()) == 2


def test_markup_in_a_title_is_printed_as_it_is(ask: Ask) -> None:
    """Podcast text is anyone's: it must not colour the terminal or make links."""
    status, out, _ = ask("[b]bed[/b] dream", "-k", "15")
    assert status == 0
    assert MARKUP in out
    assert "[b]bed[/b] dream" in out
    assert "\x1b]8" not in out


def test_control_characters_do_not_reach_the_terminal() -> None:
    """A title could else rewrite the screen."""
    shown = metadata(title="a\x1b[2J\x07b\x9b31mc", show_title="\x1b]0;owned\x07show")
    result = Result("e1", 0.5, shown, None, None)
    console = Console(width=120, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(results_table("query\x1b[2J", [result]))
    assert not set(capture.get()).intersection("\x07\x9b")
    assert "\x1b[2J" not in capture.get()
    assert "\x1b]" not in capture.get()


def test_one_language_only(ask: Ask) -> None:
    status, out, _ = ask("sleep", "--language", "German", "-k", "15")
    assert status == 0
    assert sum(line.startswith("│") for line in out.splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([" "], "Say what you are looking for", id="empty query"),
        pytest.param(["rocket", "-k", "0"], "Ask for at least one result", id="no results asked for"),
        pytest.param(["rocket", "-k", "4294967296"], "Ask for at least one result and at most 100", id="too many"),
    ],
)
def test_a_question_that_cannot_be_answered(ask: Ask, arguments: list[str], message: str) -> None:
    status, out, errors = ask(*arguments)
    assert (status, out) == (1, "")
    assert errors.splitlines()[-1].startswith(message)
    assert "Traceback" not in errors


def test_a_very_long_query_is_answered(ask: Ask) -> None:
    assert ask("moon " * 5_000)[0] == 0


def test_nothing_live_is_said_in_one_line(tmp_path: Path) -> None:
    """As a user runs it, without a traceback, and before a model is loaded."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PODSEARCH_")}
    environment |= {"PODSEARCH_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-m", "include.search", "query"], env=environment, capture_output=True, text=True, cwd=PROJECT
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "There is no live index yet: run the pipeline first (make run).\n"


def test_no_results_are_said(ask: Ask) -> None:
    status, out, _ = ask("sleep", "--language", "Klingon")
    assert (status, out) == (0, "No episodes found in Klingon: a language is named as the catalogue has it.\n")
    assert ask("xyzzy", "--mode", "lexical")[1] == "No episodes found.\n"


def test_a_terminal_that_lacks_a_letter_shows_the_others(home: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PODSEARCH_")}
    environment |= {"PODSEARCH_HOME": str(home), "PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": "iso-8859-1"}
    done = subprocess.run(
        [sys.executable, "-m", "include.search", "日本 café rocket", "-k", "2"],
        env=environment,
        capture_output=True,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert "?? café rocket" in done.stdout.decode("iso-8859-1")


def test_who_interrupts_it_gets_no_traceback(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("include.search.opening.open_search", interrupted)
    assert ask("rocket")[0] == 130


def test_an_index_at_another_place_is_named(ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PODSEARCH_INDEX_LOCATION", str(tmp_path))
    status, _, errors = ask("rocket")
    assert status == 1
    assert "PODSEARCH_INDEX_LOCATION" in errors


def test_wrong_settings_are_named(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSEARCH_SHARDS", "many")
    status, _, errors = ask("rocket")
    assert (status, errors.split(":")[0]) == (1, "PODSEARCH_SHARDS")
