"""No benchmark measures what no operator calls.

What operators call is followed through the code of ``include/``, from one function or class to all that it names. It is
followed by name, not by what happens at run time: a class counts with all its methods.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from include.settings import PROJECT

BENCHMARKS = sorted((PROJECT / "benchmarks").glob("*.py"))
INGESTION = [PROJECT / "benchmarks" / f"{name}.py" for name in ("ingest", "validation", "catalogue")]
"""The benchmark of ingestion, which stands for the tasks of ``ingest_episodes``, each as a whole."""
OPERATORS = sorted((PROJECT / "operators").glob("*.py"))
Name = tuple[str, str]
"""A module of ``include/``, and what is named in it; nothing for the module itself."""


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def file_of(module: str) -> Path | None:
    """The file of one of our modules; a package has nothing in it."""
    file = PROJECT.joinpath(*module.split(".")).with_suffix(".py")
    return file if file.is_file() else None


@cache
def imported(file: Path) -> dict[str, Name]:
    """What each name means that a file imports from ``include/``, anywhere in it."""
    found: dict[str, Name] = {}
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "include":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found[alias.asname or alias.name] = (whole, "") if file_of(whole) else (node.module or "", alias.name)
    return found


@cache
def defined(module: str) -> dict[str, ast.stmt]:
    """Functions, classes and values of a module by name."""
    found: dict[str, ast.stmt] = {}
    file = file_of(module)
    for node in parsed(file).body if file else []:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node
    return found


def named(node: ast.AST, file: Path, module: str | None) -> Iterator[Name]:
    """What of ``include/`` some code names."""
    names = imported(file)
    own = defined(module) if module else {}
    for part in ast.walk(node):
        match part:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if names.get(name, ("", "x"))[1] == "":
                yield names[name][0], attribute
            case ast.Name(id=name) if name in names:
                yield names[name]
            case ast.Name(id=name) if module and name in own:
                yield module, name


def reached(start: Iterable[Name]) -> set[Name]:
    """All that some names lead to."""
    found, left = set(), list(start)
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        module, what = name
        file = file_of(module)
        if file and what in defined(module):
            left += named(defined(module)[what], file, module)
        elif file and what in imported(file):  # named again where it is handed on
            left.append(imported(file)[what])
    return found


def direct(file: Path) -> set[Name]:
    """What of ``include/`` a file names itself, but for modules as such."""
    return {name for name in named(parsed(file), file, None) if name[1]}


@cache
def called() -> set[Name]:
    """All that operators call, themselves or by what they call."""
    return reached(name for file in OPERATORS for name in direct(file))


@pytest.mark.parametrize("file", BENCHMARKS, ids=lambda file: file.stem)
def test_a_benchmark_measures_what_operators_call(file: Path) -> None:
    strangers = direct(file) - called()
    assert strangers == set(), f"{file.name} names what no operator calls: measure what the DAGs run."


@cache
def called_by_operators() -> set[Name]:
    """What operators call themselves."""
    return {name for file in OPERATORS for name in direct(file)}


@pytest.mark.parametrize("file", INGESTION, ids=lambda file: file.stem)
def test_the_benchmark_of_ingestion_calls_what_operators_call_themselves(file: Path) -> None:
    code = {name for name in direct(file) if isinstance(defined(name[0]).get(name[1]), ast.FunctionDef | ast.ClassDef)}
    strangers = code - called_by_operators()
    assert strangers == set(), f"{file.name} goes another way than the DAG: call what operators/ calls."


@pytest.mark.parametrize("module", ["include.episodes.ingest", "include.quality.ingestion"])
def test_nothing_of_a_task_of_ingestion_is_left_to_a_default(module: str) -> None:
    """With a default, the benchmark could measure what the task does not do, and nobody would see it."""
    assert any((module, name) in called_by_operators() for name in defined(module))
    for name, node in defined(module).items():
        if isinstance(node, ast.FunctionDef):
            parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters.values()
            assert all(parameter.default is parameter.empty for parameter in parameters), name


def test_another_way_is_found(tmp_path: Path) -> None:
    """The way that was measured once, while the DAG went another: both end in ``write_parts``."""
    file = tmp_path / "ingest.py"
    file.write_text("from include.episodes import snapshot\nsnapshot.write_parts(1)\nsnapshot.nothing(2)\n")
    assert direct(file) - called_by_operators() == {
        ("include.episodes.snapshot", "write_parts"),
        ("include.episodes.snapshot", "nothing"),
    }
    assert direct(file) - called() == {("include.episodes.snapshot", "nothing")}
