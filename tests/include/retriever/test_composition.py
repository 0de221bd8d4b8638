from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from include.retriever.composition import WORDS, beginning, encode_documents
from include.retriever.encoders.contract import Vectors

LONG = "Why we sleep. " + "Notes at https://example.org/47?x=1 and talk@example.org. " + "word " * 200


class Counting:
    """Gives each text a vector of its own, and keeps what it was given."""

    tokens = 0

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], *, batch_size: int = 0, kind: str = "document") -> Vectors:
        self.asked += texts
        angles = np.array([len(text) / 1_000 for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_a_beginning_has_some_words_and_no_addresses() -> None:
    start = beginning(LONG)
    assert start.startswith("Why we sleep. Notes at and word word")
    assert len(start.split()) == WORDS
    assert beginning("Short.") == "Short."
    assert beginning("") == ""


def test_a_script_without_spaces_begins_as_any_other() -> None:
    assert len(beginning("日本の歴史について " * 100)) < 2.5 * WORDS
    assert beginning("詳しくはhttps://example.org/1まで") == "詳しくは まで"


def test_a_text_without_end_takes_no_time() -> None:
    assert len(beginning("x" * 1_000_000 + ".com")) <= 1_000


def test_a_vector_is_the_mean_of_whole_and_beginning() -> None:
    encoder = Counting()
    short, long = encode_documents(encoder, ["Short.", LONG], batch_size=0)
    assert encoder.asked == ["Short.", LONG, beginning(LONG)], "what has no more than its beginning is encoded once"
    whole, start = Counting().encode([LONG, beginning(LONG)])
    assert np.allclose(long, (whole + start) / np.linalg.norm(whole + start))
    assert np.allclose(np.linalg.norm([short, long], axis=1), 1)
    assert encode_documents(Counting(), ["Short."], batch_size=0).shape == (1, 2)
