from __future__ import annotations

from pathlib import Path

import pytest

from include.home import DEFAULT, MARKER, claim, find_home
from include.settings import PROJECT, Settings
from tests.include.conftest import error_of


@pytest.fixture(autouse=True)
def tilde(dotenv: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home folder of the tests' own."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))


@pytest.mark.parametrize(
    "line",
    [
        "PODSEARCH_HOME=",
        "PODSEARCH_HOME=data",
        "PODSEARCH_HOME=~/pod search",
        "PODSEARCH_HOME='~/pod search'",
        'PODSEARCH_HOME="/tmp/pod search"',
        '  export PODSEARCH_HOME = "/nowhere/x"  # a comment',
        "PODSEARCH_HOME=/nowhere/x # a comment",
        "PODSEARCH_HOME=/nowhere/x#y",
        "PODSEARCH_HOME='/nowhere/x # y'",
        "PODSEARCH_HOME=/nowhere/x\nPODSEARCH_HOME=/nowhere/y",
        "PODSEARCH_HOME=/nowhere/x\r\nPODSEARCH_SHARDS=2\r\n",
        "# PODSEARCH_HOME=/nowhere/x",
        "podsearch_home=/nowhere/x",
        "PODSEARCH_HOME=/nowhere/$x",
        "PODSEARCH_SHARDS=2",
    ],
)
def test_make_reads_dotenv_as_the_settings_do(dotenv: Path, line: str) -> None:
    dotenv.write_bytes(f"{line}\n".encode())
    assert find_home(dotenv) == Settings().installation.home


def test_a_byte_order_mark_hides_no_line(dotenv: Path) -> None:
    """Windows' editor writes one."""
    dotenv.write_text("PODSEARCH_HOME=/nowhere/x\n", encoding="utf-8-sig")
    assert find_home(dotenv) == Settings().installation.home == Path("/nowhere/x")


def test_another_encoding_is_said(dotenv: Path) -> None:
    dotenv.write_text("# Übung\nPODSEARCH_HOME=/nowhere/x\n", encoding="latin-1")
    with pytest.raises(ValueError, match="is not UTF-8"):
        find_home(dotenv)


def test_the_environment_goes_before_dotenv(dotenv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv.write_text("PODSEARCH_HOME=/nowhere/x\n")
    monkeypatch.setenv("PODSEARCH_HOME", "~/y")
    assert find_home(dotenv) == Settings().installation.home == Path("~/y").expanduser()


@pytest.mark.parametrize("value", ["${HOME}/x", '"/tmp/\\\\x"'])
def test_what_only_more_than_plain_python_understands_is_refused(dotenv: Path, value: str) -> None:
    dotenv.write_text(f"PODSEARCH_HOME={value}\n")
    with pytest.raises(ValueError, match="write the folder in full"):
        find_home(dotenv)


def test_without_a_word_it_is_in_the_project(dotenv: Path) -> None:
    assert find_home(dotenv) == Settings().installation.home == DEFAULT


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    home = tmp_path / "a" / "home"
    claim(home)
    assert [path.name for path in home.iterdir()] == [MARKER]
    (home / "artifacts").mkdir()
    claim(home)


def test_a_folder_with_files_of_others_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ValueError, match="contains files that podsearch did not create"):
        claim(tmp_path)
    assert not (tmp_path / MARKER).exists()


def test_a_file_is_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert error_of(monkeypatch, PODSEARCH_HOME=str(tmp_path / "file" / "x")) == (
        f"PODSEARCH_HOME: {tmp_path / 'file'} is a file: name a folder"
    )


@pytest.mark.parametrize("home", ["/", "~", "~/..", str(PROJECT), str(PROJECT.parent)])
def test_a_home_that_holds_more_than_podsearch_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str
) -> None:
    """`make clean` would remove it."""
    (tmp_path / "user").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert "contains more than podsearch: name a folder of its own" in error_of(monkeypatch, PODSEARCH_HOME=home)
