from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.episodes.schema import content_hash
from include.queries import roundtrip
from include.queries.roundtrip import Catalogue, Vectors, round_trip

DIMENSION = 8
EPISODES = [f"text of {number}" for number in range(40)]


def unit(matrix: Any) -> Vectors:
    values = np.asarray(matrix, np.float64)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


VECTORS = unit(np.random.default_rng(3).normal(size=(len(EPISODES), DIMENSION)))
NEAR = VECTORS + 1.5 * unit(np.random.default_rng(4).normal(size=VECTORS.shape))
"""What queries look like: near the episode they ask for, some of them nearer to another."""


class Encoder:
    """Vectors by text, and what was encoded."""

    def __init__(self, vectors: dict[str, Any]) -> None:
        self.known = {text: unit([vector])[0] for text, vector in vectors.items()}
        self.encoded: list[str] = []

    def __call__(self, texts: list[str]) -> Vectors:
        self.encoded += texts
        return np.stack([self.known[text] for text in texts])


def catalogue() -> Catalogue:
    return Catalogue([f"e{n}" for n in range(len(EPISODES))], [content_hash(text) for text in EPISODES], VECTORS)


def pairs(rows: list[dict[str, str]]) -> pa.Table:
    plain = {"split": "train", "origin": "doc2query"}
    return pa.Table.from_pylist([plain | row for row in rows])


def ask(number: int, **changes: str) -> dict[str, str]:
    return {"query": f"query {number}", "episode_id": f"e{number}", "positive": EPISODES[number]} | changes


@pytest.fixture
def encoder() -> Encoder:
    return Encoder({f"query {n}": NEAR[n] for n in range(len(EPISODES))})


@pytest.mark.parametrize(("block", "scores"), [(2048, 2**23), (7, 100), (1, 1)])
def test_ranks_are_those_of_a_search_by_hand_whatever_the_blocks(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, block: int, scores: int
) -> None:
    monkeypatch.setattr(roundtrip, "BLOCK_QUERIES", block)
    monkeypatch.setattr(roundtrip, "BLOCK_SCORES", scores)
    result = round_trip(pairs([ask(n) for n in range(len(EPISODES))]), catalogue(), encoder, k=3)
    cosines = unit(NEAR).astype(np.float64) @ VECTORS.T.astype(np.float64)
    expected = [1 + int(np.sum(row > row[n])) for n, row in enumerate(cosines)]
    assert result.ranks.tolist() == expected
    assert result.keep.tolist() == [rank <= 3 for rank in expected]
    assert 0 < result.dropped < result.asked == len(EPISODES)
    assert result.kept_share == pytest.approx(1 - result.dropped / len(EPISODES))


def test_only_generated_queries_of_the_train_split_are_asked(encoder: Encoder) -> None:
    """What is found already would measure nothing; and listeners did reach what they searched."""
    rows = [
        ask(0, query="lost"),
        ask(1, query="lost", split="test"),
        ask(2, query="lost", split="eval"),
        ask(3, query="lost", origin="log:app"),
        ask(4, query="lost", origin="log"),
    ]
    encoder.known["lost"] = unit([-VECTORS[0]])[0]
    result = round_trip(pairs(rows), catalogue(), encoder, k=1)
    assert result.keep.tolist() == [False, True, True, True, True]
    assert result.ranks.tolist() == [len(EPISODES), 0, 0, 0, 0]
    assert encoder.encoded == ["lost"]


def test_the_text_with_the_query_held_out_stands_in_for_its_episode(encoder: Encoder) -> None:
    """A title finds the text that begins with it, whatever it says."""
    encoder.known |= {"copied": VECTORS[5], "rest of 5": unit([-VECTORS[5]])[0]}
    rows = [ask(5, query="copied"), ask(5, query="copied", positive="rest of 5"), ask(5)]
    result = round_trip(pairs(rows), catalogue(), encoder, k=1)
    assert result.ranks[0] == 1
    assert result.ranks[1] == len(EPISODES)
    assert result.ranks[2] == round_trip(pairs([ask(5)]), catalogue(), encoder, k=1).ranks[0]


def test_no_text_of_the_catalogue_is_encoded_again_and_no_text_twice(encoder: Encoder) -> None:
    encoder.known["rest"] = VECTORS[1]
    round_trip(pairs([ask(0), ask(1, positive="rest"), ask(2, positive="rest")]), catalogue(), encoder, k=1)
    assert sorted(encoder.encoded) == ["query 0", "query 1", "query 2", "rest"]


def test_a_repeated_text_is_equally_right(encoder: Encoder) -> None:
    """Its vector scores the same but for rounding, which must not decide what is trained on."""
    vectors = VECTORS.copy()
    vectors[1:20] = vectors[0]
    same = Catalogue(catalogue().ids, catalogue().hashes, vectors)
    encoder.known["query 0"] = vectors[0]
    assert round_trip(pairs([ask(0)]), same, encoder, k=1).ranks.tolist() == [1]


def test_nothing_to_ask(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        result = round_trip(pairs([ask(0, split="test")]), catalogue(), encoder, k=5)
    assert (result.asked, result.dropped, result.kept_share) == (0, 0, 1.0)
    assert encoder.encoded == []
    assert "0 of 0 training queries" in caplog.text


def test_what_does_not_fit_together_is_refused(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="gone"):
        round_trip(pairs([ask(0, episode_id="gone")]), catalogue(), encoder, k=1)
    with pytest.raises(ValueError, match="at least 1"):
        round_trip(pairs([ask(0)]), catalogue(), encoder, k=0)
    with pytest.raises(ValueError, match="no catalogue"):
        Catalogue(["a", "a"], ["h", "h"], VECTORS[:2])
