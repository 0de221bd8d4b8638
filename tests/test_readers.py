"""Every setting has a reader: one that nobody reads does nothing, and whoever sets it is not told."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from include.quality.drift import LIMITS
from include.retriever.recipe import Recipe
from include.settings import PROJECT, Settings

ROOMS = ("include", "operators", "dags", "plugins", "deploy")
HOME = PROJECT / "include" / "settings.py"
HANDED_OVER = {"recipe": set(Recipe.model_fields), "drift": LIMITS}
"""Settings that are read as one: as the property ``recipe``, and as the argument ``include`` of ``model_dump``."""
CHOOSES = {"profile"}
"""Read where the settings are made: it chooses the defaults of others."""


def is_settings(node: ast.expr) -> bool:
    """Whether an expression is the settings: ``settings``, ``self._settings``, ``get_settings()``."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Call(func=ast.Name(id=name)):
            return name.endswith("settings")
    return False


def read(tree: ast.AST) -> Iterator[str]:
    """Names of what some code reads from the settings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_settings(node.value):
            yield node.attr
            if node.attr == "model_dump":
                yield from HANDED_OVER["drift"]


def unread(trees: Iterable[ast.AST]) -> set[str]:
    """Settings that no code reads, not even by a property of the settings that it reads."""
    found = {name for tree in trees for name in read(tree)}
    own = next(
        node
        for node in ast.parse(HOME.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == Settings.__name__
    )
    properties = {node.name: node for node in own.body if isinstance(node, ast.FunctionDef)}
    asked = [name for name in found if name in properties]
    while asked:
        name = asked.pop()
        by_property = {
            node.attr
            for node in ast.walk(properties[name])
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
        }
        new = (by_property | HANDED_OVER.get(name, set())) - found
        found |= new
        asked += [one for one in new if one in properties]
    return set(Settings.model_fields) - found - CHOOSES


def files() -> list[Path]:
    return [file for room in ROOMS for file in sorted((PROJECT / room).rglob("*.py")) if file != HOME]


def test_every_setting_has_a_reader() -> None:
    assert unread(ast.parse(file.read_text(encoding="utf-8")) for file in files()) == set()


def test_a_setting_without_a_reader_is_found() -> None:
    code = "def f(settings): return settings.home, self.settings.work_root, manifest.shards, get_settings().recipe"
    missing = unread([ast.parse(code)])
    assert {"shards", "processes", "drift_window"} <= missing
    assert not {"home", "learning_rate"} & missing
