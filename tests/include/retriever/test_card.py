from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from include.retriever.card import FILE, license_of, write_card
from include.retriever.manifest import ModelManifest

BASE = "---\nlanguage: en\nlicense: mit\ntags:\n- podcasts\n---\n\n# Tiny\n\nA model.\n"


def manifest(**changes: object) -> ModelManifest:
    values = {
        "version": "tiny-tuned-1",
        "kind": "fine-tuned",
        "base_model": "tiny",
        "dimension": 32,
        "max_seq_length": 96,
        "registered_at": datetime(2026, 1, 1, 12, 30, tzinfo=UTC),
        "snapshot_id": "snap1",
        "recipe": {"epochs": 1, "learning_rate": 2e-05},
        "license": "apache-2.0",
        "pairs": {"title": 7},
        "metrics": {"before": {"MRR@5": 0.25}, "after": {"MRR@5": 0.5}},
        "data": {
            "source_version": "v3",
            "episodes": 9,
            "pairs": {"train": {"title": 7, "log:app": 2}, "test": {"title": 1}},
            "languages": {"English": 8, "[x](http://example.org)|<b>": 1},
        },
    }
    return ModelManifest.model_validate(values | changes)


def card(folder: Path, content: str | None, own: ModelManifest) -> str:
    """What a card becomes."""
    if content is not None:
        (folder / FILE).write_text(content, encoding="utf-8")
    write_card(folder, own)
    return (folder / FILE).read_text(encoding="utf-8")


def test_a_card_says_what_went_in_and_what_came_out(tmp_path: Path) -> None:
    text = card(tmp_path, "# Tuned\n\nBy the trainer.\n", manifest())
    for line in (
        "| Version | tiny-tuned-1 |",
        "| Licence | apache-2.0 |",
        "| Registered | 2026-01-01 12:30 UTC |",
        "| Snapshot | snap1 |",
        "| Source version | v3 |",
        "| learning\\_rate | 2e-05 |",
        "| train | log:app | 2 |",
        "| English | 8 |",
        "| MRR@5 | before | 0.250 |",
        "| MRR@5 | after | 0.500 |",
    ):
        assert line in text.splitlines()
    assert text.index("By the trainer.") < text.index("# In podsearch")


def test_the_licence_stands_in_the_header_that_hubs_read(tmp_path: Path) -> None:
    loaded = ModelCard(card(tmp_path, "---\ntags:\n- podcasts\n---\n# Tuned\n", manifest()))
    assert (loaded.data["license"], loaded.data["tags"]) == ("apache-2.0", ["podcasts"])


def test_what_the_author_of_the_base_model_says_is_kept(tmp_path: Path) -> None:
    text = card(tmp_path, BASE, manifest(kind="base", recipe={}, pairs={}, metrics={}, data={}))
    assert text.startswith(BASE.strip())
    assert ModelCard(text).data["license"] == "mit"
    assert "Recipe" not in text


def test_writing_it_again_changes_nothing(tmp_path: Path) -> None:
    first = card(tmp_path, BASE, manifest())
    assert card(tmp_path, None, manifest()) == first
    assert "0.900" in card(tmp_path, None, manifest(metrics={"after": {"MRR@5": 0.9}}))


def test_a_model_without_a_card_gets_one(tmp_path: Path) -> None:
    text = card(tmp_path, None, manifest(license="", data={}, metrics={}))
    assert text.startswith("# tiny-tuned-1\n")
    assert "| Licence | not stated |" in text


def test_names_of_feeds_become_no_markup(tmp_path: Path) -> None:
    text = card(tmp_path, None, manifest())
    assert "| \\[x\\](http://example.org)\\|\\<b\\> | 1 |" in text


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (BASE, "tiny", "mit"),
        (BASE, "all-MiniLM-L6-v2", "mit"),  # its own card knows best
        ('---\nlicense: "cc-by-4.0"\n---\n', "tiny", "cc-by-4.0"),
        ("---\r\nlicense: mit\r\n---\r\n", "tiny", "mit"),
        ("# No header\nlicense: mit\n", "tiny", ""),
        ("---\ntags: [\n---\n", "tiny", ""),  # no YAML at all
        ("---\nlicense:\n- mit\n---\n", "tiny", ""),
        (None, "tiny", ""),
        (None, "sentence-transformers/distiluse-base-multilingual-cased-v2", "apache-2.0"),
        (None, "/models/all-MiniLM-L6-v2", "apache-2.0"),
    ],
)
def test_the_licence_of_a_base_model(tmp_path: Path, content: str | None, name: str, expected: str) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content.encode())
    assert license_of(tmp_path, name) == expected
