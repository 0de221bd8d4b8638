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
        [shutil.which("make") or "make", "--no-print-directory", *arguments, f"PODSEARCH_HOME={home}"],
        cwd=PROJECT,
        env={**os.environ, "MAKEFLAGS": "", **environment},
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
    for name in ("sh", "sed", "tail"):
        (tools / name).symlink_to(shutil.which(name) or name)
    done = make("run", home=tmp_path / "home", PATH=str(tools))
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
