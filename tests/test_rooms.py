"""Arrows between the rooms point one way, and nothing heavy is loaded where it is not used."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import PROJECT

FORBIDDEN = {
    "include": {"airflow", "operators", "dags", "deploy", "plugins"},
    "operators": {"dags", "deploy", "plugins"},
    "plugins": {"dags", "deploy"},
    "deploy": {"dags", "plugins"},
}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_nothing_from_above(room: str) -> None:
    files = list((PROJECT / room).rglob("*.py"))
    assert files
    found = {str(file.relative_to(PROJECT)): imports_of(file) & FORBIDDEN[room] for file in files}
    assert {file: names for file, names in found.items() if names} == {}


def imports_of(file: Path) -> set[str]:
    """Top-level names of all packages that a file imports anywhere."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parts = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in plain | parts}


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
