"""Every setting has a reader: one that nobody reads does nothing, and whoever sets it is not told."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from include.settings import GROUPS, PROJECT

ROOMS = ("include", "operators", "dags", "plugins", "deploy")
CHOOSES = {("installation", "profile")}
"""Read where the settings are made: it chooses the defaults of others."""


def reads(trees: Iterable[ast.AST]) -> set[tuple[str, str]]:
    """What some code reads: the name before the last dot, and the name behind it."""
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    found = set()
    for node in nodes:
        match node.value:
            case ast.Attribute(attr=owner) | ast.Name(id=owner):
                found.add((owner, node.attr))
    return found


def unread(trees: Iterable[ast.AST]) -> set[tuple[str, str]]:
    """Settings that no code reads: neither of their group, nor of settings that are one group, nor the group itself."""
    found = reads(trees)
    return {
        (group, field)
        for group, fields in GROUPS.items()
        for field in fields.model_fields
        if not {(group, field), ("settings", field), ("self", field)} & found
    } - CHOOSES


def test_every_setting_has_a_reader() -> None:
    files = [file for room in ROOMS for file in sorted((PROJECT / room).rglob("*.py"))]
    assert unread(ast.parse(file.read_text(encoding="utf-8")) for file in files) == set()


def test_a_setting_without_a_reader_is_found() -> None:
    code = "def f(settings, index): return settings.installation.home, index.backend, manifest.shards, settings.device"
    missing = unread([ast.parse(code)])
    assert {("episodes", "shards"), ("index", "location")} <= missing
    assert not {("installation", "home"), ("index", "backend"), ("devices", "device")} & missing
