"""Arrows between the rooms point one way, and nothing heavy is loaded where it is not used."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import PROJECT


def test_arrows_point_down_and_in_no_circle() -> None:
    """The contracts are in pyproject.toml."""
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [tool, "--no-cache"], cwd=PROJECT, env={"PYTHONPATH": "."}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("path", "line", "rule"),
    [
        ("dags/planted.py", "import torch", "TID253"),
        ("operators/planted.py", "from sentence_transformers import SentenceTransformer", "TID253"),
        ("operators/planted.py", "import pyarrow.parquet", "TID253"),
        ("include/planted.py", "from airflow.sdk import Asset", "TID251"),
    ],
)
def test_the_linter_holds_the_same(tmp_path: Path, path: str, line: str, rule: str) -> None:
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    (tmp_path / path).parent.mkdir()
    (tmp_path / path).write_text(f"from __future__ import annotations\n\n{line}\n")
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{path}:3:" in checked.stdout
    assert rule in checked.stdout
