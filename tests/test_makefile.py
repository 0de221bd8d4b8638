"""What `make` says before there is anything that could say it better."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import PROJECT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


def make(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shutil.which("make") or "make", "--no-print-directory", f"PODSEARCH_HOME={home}", *arguments],
        cwd=PROJECT,
        env={name: value for name, value in os.environ.items() if name != "PYTHON"} | {"MAKEFLAGS": ""} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_lists_every_target(tmp_path: Path) -> None:
    listed = set(re.findall(r"^  make (\S+)", make("help", home=tmp_path).stdout, re.MULTILINE))
    assert listed == set(re.findall(r"^([a-z-]+):.*##", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert {"run", "up", "down", "search", "test", "clean"} <= listed
    assert make(home=tmp_path).stdout == make("help", home=tmp_path).stdout


def test_a_python_that_is_too_old_is_named_in_a_line(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'import sys; sys.version_info = (3, 9, 0); exec(sys.argv[1])' \"$2\"\n"
    )
    old.chmod(0o755)
    done = make("run", f"PYTHON={old}", home=tmp_path / "home")
    assert done.returncode != 0
    said = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("make")]
    assert said == [f"podsearch needs Python 3.11 or 3.12; {old} is 3.9."]
    assert not (tmp_path / "home").exists()


def test_without_a_python_it_says_which_to_install(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sh").symlink_to(shutil.which("sh") or "sh")
    for named in ({}, {"PYTHON": "python3.11"}, {"PYTHON": "/nowhere/python"}):
        done = make("run", home=tmp_path / "home", PATH=str(tools), **named)
        assert done.returncode != 0
        assert "podsearch needs Python 3.11 or 3.12: install one, or name it with PYTHON=" in done.stdout + done.stderr


def test_clean_lets_a_folder_be_that_is_not_podsearchs(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = make("clean", home=tmp_path)
    assert done.returncode != 0
    assert "does not look like podsearch's folder" in done.stdout
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_clean_has_nothing_to_remove_twice(tmp_path: Path) -> None:
    done = make("clean", home=tmp_path / "home")
    assert (done.returncode, done.stdout.strip()) == (0, "Nothing to remove.")


def test_clean_removes_what_was_made(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "venv" / "bin").mkdir(parents=True)
    (home / "made-by-podsearch").touch()
    (home / "artifacts").mkdir()
    done = make("clean", home=home)
    assert done.returncode == 0, done.stderr
    assert not home.exists()


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """A home that is set up, with a space in its name, whose Python says what it is asked to do."""
    home = tmp_path / "my home"
    (home / "venv" / "bin").mkdir(parents=True)
    python = home / "venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$PODSEARCH_HOME"\nfor word in "$@"; do printf "%s\\n" "$word"; done\n')
    python.chmod(0o755)
    for name in ("venv/installed", "venv/installed-dev", "made-by-podsearch"):
        (home / name).touch()
    return home


@pytest.mark.parametrize("given", ["command line", "environment"])
@pytest.mark.parametrize(
    "query",
    ["how to make $100", "$(shell touch stolen)", "`touch stolen`", "${Q}", 'it\'s "so" $$ #1', "--help", "a\\b"],
)
def test_a_query_is_searched_for_as_it_is(echo: Path, query: str, given: str) -> None:
    written = {"Q": query} if given == "environment" else {}
    done = make("search", *([] if written else [f"Q={query}"]), home=echo, **written)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(echo), "-m", "include.search", "--", query]
    assert not (PROJECT / "stolen").exists()


def test_no_other_variable_is_run_either(echo: Path, tmp_path: Path) -> None:
    done = make("down", f"PODSEARCH_BASE_MODEL=$(shell touch '{tmp_path}/stolen')", home=echo)
    assert done.stdout.splitlines()[1:] == ["-m", "deploy.local", "down"]
    assert not (tmp_path / "stolen").exists()


def test_set_up_takes_no_folder_that_has_files_of_others(tmp_path: Path) -> None:
    """`make clean` removed them with it."""
    (tmp_path / "thesis.txt").write_text("years of work")
    done = make("run", home=tmp_path)
    assert done.returncode != 0
    assert f"PODSEARCH_HOME: {tmp_path} contains files that podsearch did not create" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_clean_removes_only_what_podsearch_made(echo: Path) -> None:
    (echo / "artifacts").mkdir()
    (echo / "thesis.txt").write_text("years of work")
    (echo / "work").symlink_to(echo.parent)
    done = make("clean", home=echo)
    assert done.returncode == 0, done.stderr
    assert f"Removed what podsearch made in {echo}; kept: thesis.txt." in done.stdout
    assert [path.name for path in echo.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("target", ["down", "clean"])
def test_wrong_settings_keep_nobody_from_stopping_and_removing(echo: Path, target: str) -> None:
    python = echo / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    done = make(target, home=echo, PODSEARCH_SHADRS="4", PODSEARCH_PORT="eighty")
    assert done.returncode == 0, done.stderr
    assert "Airflow was not running." in done.stdout
    assert echo.exists() == (target == "down")


@pytest.mark.parametrize("home", ["/", "~", str(PROJECT)])
def test_clean_never_touches_a_home_that_holds_more(tmp_path: Path, home: str) -> None:
    (tmp_path / "made-by-podsearch").touch()
    (tmp_path / "artifacts").mkdir()
    done = make("clean", f"PODSEARCH_HOME={home}", home=tmp_path, HOME=str(tmp_path))
    assert done.returncode != 0
    assert "contains more than podsearch" in done.stderr
    assert (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    ("home", "said"),
    [
        ("~nouser/x", "there is no such user"),
        ("x" * 5_000, "File name too long"),
        ("/sys/podsearch", "is not writable"),
        (str(PROJECT / "Makefile"), "is a file: name a folder"),
    ],
)
def test_a_home_that_can_be_none_is_said_in_a_line(tmp_path: Path, home: str, said: str) -> None:
    done = make("run", f"PODSEARCH_HOME={home}", home=tmp_path)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(errors) == 1
    assert errors[0].startswith("PODSEARCH_HOME: ")
    assert said in errors[0]
