"""The model card: what podsearch knows about a version, added to what sentence-transformers writes into its README.md.

A card travels with the weights, to a hub or to a colleague without the manifest: it must say what the model may be used
for, what it was trained on and how well it did.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.storage import ArtifactStore

if TYPE_CHECKING:
    from include.retriever.manifest import ModelManifest

FILE = "README.md"
START = "<!-- podsearch -->"
"""Everything below this line of a card is rewritten with the manifest."""
LANGUAGES = 12
"""So many are listed, at most."""
_HEADER = re.compile(r"\A---[ \t]*\r?\n(.*?\n)---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_LICENSE = re.compile(r"^license:[ \t]*(\S+)[ \t]*\r?$", re.MULTILINE)

KNOWN_LICENSES = {
    "all-minilm-l6-v2": "apache-2.0",
    "distiluse-base-multilingual-cased-v2": "apache-2.0",
}
"""Licences of base models by the last part of their name, for a copy that lost its card."""


def license_of(folder: Path, name: str) -> str:
    """The licence that a model's card states, or else the one it is known to have; empty if unknown.

    :param folder: in sentence-transformers' format.
    :param name: what the model is called: a hub id, or a folder's path.
    """
    header, _ = _parts(_read(folder))
    stated = _LICENSE.search(header)
    return (stated[1].strip("\"'") if stated else "") or KNOWN_LICENSES.get(Path(name).name.lower(), "")


def write_card(folder: Path, manifest: ModelManifest) -> None:
    """Write the licence and the manifest's content into the card in a model's folder; atomic and repeatable."""
    header, body = _parts(_read(folder) or f"# {manifest.version}\n")
    if manifest.license and not _LICENSE.search(header):
        header += f"license: {json.dumps(manifest.license)}\n"
    body = body.partition(START)[0].strip()
    card = f"{body}\n\n{START}\n{_section(manifest)}"
    if header:
        card = f"---\n{header}---\n\n{card}"
    ArtifactStore(folder).write_bytes(card.encode(), FILE)


def _read(folder: Path) -> str:
    path = folder / FILE
    return path.read_text(encoding="utf-8-sig", errors="replace") if path.is_file() else ""


def _parts(card: str) -> tuple[str, str]:
    """The card's header, which is YAML, and what follows it."""
    found = _HEADER.match(card)
    return (found[1], card[found.end() :]) if found else ("", card)


def _section(manifest: ModelManifest) -> str:
    """What podsearch knows, as Markdown."""
    data = manifest.data
    facts = {
        "Version": manifest.version,
        "Kind": manifest.kind,
        "Base model": manifest.base_model,
        "Licence": manifest.license or "not stated",
        "Dimensions": manifest.dimension,
        "Registered": f"{manifest.registered_at:%Y-%m-%d %H:%M} UTC",
        "Snapshot": manifest.snapshot_id,
        "Source version": data.get("source_version"),
        "Episodes with pairs": data.get("episodes"),
    }
    parts = ["# In podsearch", _table(("", ""), ((name, value) for name, value in facts.items() if value))]
    if manifest.recipe:
        parts += ["## Recipe", _table(("Setting", "Value"), manifest.recipe.items())]
    if manifest.pairs or data.get("pairs"):
        by_split = data.get("pairs") or {"train": manifest.pairs}
        rows = [(split, origin, number) for split, own in by_split.items() for origin, number in own.items()]
        parts += ["## Pairs", _table(("Split", "Origin", "Pairs"), rows)]
    if data.get("languages"):
        parts += ["## Languages", _table(("Language", "Training pairs"), list(data["languages"].items())[:LANGUAGES])]
    if any(manifest.telling_metrics.values()):
        figures = [
            (name, when, f"{value:.3f}")
            for when, own in manifest.telling_metrics.items()
            for name, value in own.items()
        ]
        note = "In-batch: each query of the eval split among the texts of that split."
        parts += ["## Metrics", note, _table(("Metric", "Training", "Value"), sorted(figures, key=lambda row: row[0]))]
    return "\n\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(map(_plain, row)) + " |" for row in (heads, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(heads), *lines[1:]])


def _plain(value: Any) -> str:
    """A cell of a table: names of languages come from feeds, and must not become markup."""
    text = " ".join(str(value).split())
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return text
