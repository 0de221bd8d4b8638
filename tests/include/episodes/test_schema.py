from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from include.episodes.schema import compose_text, content_hash, shard_of

PROJECT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        pytest.param(("T", "D", "S", "About"), "T. D. S. About.", id="the recipe"),
        pytest.param(("T?", "D!", "S.", "About…"), "T? D! S. About…", id="no second full stop"),
        pytest.param(
            ("题。", "说明！", "节目", None), "题。 说明！ 节目.", id="Chinese punctuation ends a sentence too"
        ),
        pytest.param(("T", "t.", "S", " T "), "T. S.", id="a field that repeats an earlier one"),
        pytest.param(("T", "D", "S", None), "T. D. S.", id="no show description"),
        pytest.param(("", "D", "S", "About"), "D. S. About.", id="the title held out"),
        pytest.param(("T", "...", "S", " "), "T. S.", id="nothing but punctuation"),
        pytest.param(("  T ", "D\n", "S", "A"), "T. D. S. A.", id="space around fields"),
        pytest.param(("", "", "", None), "", id="nothing at all"),
    ],
)
def test_the_text_joins_what_the_fields_say_once(fields: tuple[str, str, str, str | None], text: str) -> None:
    assert compose_text(*fields) == text


def test_texts_that_differ_have_different_hashes() -> None:
    hashes = {content_hash(text) for text in ("", "a", "A", "a ", "ä", "\ud800")}
    assert len(hashes) == 6
    assert all(len(key) == 24 for key in hashes)


def test_a_shard_is_the_same_in_every_process() -> None:
    """Python's own hash is seeded anew in each; tasks of one run would disagree about who owns an episode."""
    code = "from include.episodes.schema import shard_of; print([shard_of(f'p{n}', 7) for n in range(50)])"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONHASHSEED": "12345"}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str([shard_of(f"p{n}", 7) for n in range(50)])
    assert shard_of("0b2f9e4c1d", 1024) == 383, "and in every version: this one is written down"


def test_shards_are_about_equally_large() -> None:
    sizes = Counter(shard_of(f"podcast {n}", 8) for n in range(8_000))
    assert set(sizes) == set(range(8))
    assert max(sizes.values()) < 1.2 * min(sizes.values())
