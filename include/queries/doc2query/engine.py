"""The contract of what runs a T5."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from include.errors import PermanentError


class GeneratorModelError(PermanentError):
    """The model cannot be had, or cannot be used; the message says what to do."""


@dataclass(frozen=True)
class TokenizedText:
    """A text to write queries for: its tokens, and the name of its random streams."""

    episode_id: str
    tokens: tuple[int, ...]


class Engine(Protocol):
    """Samples token sequences from a T5."""

    name: str

    def sample(
        self, sources: Sequence[TokenizedText], n: int, seed: int, done: Callable[[int], None]
    ) -> list[list[list[int]]]:
        """``n`` samples a text, in the texts' order: tokens without start and end.

        :param done: is told how many texts were finished, every now and then.
        """
        ...

    def score(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Log-probabilities of each token of queries given texts, that of the end token last."""
        ...

    def likeliest(self, texts: Sequence[Sequence[int]], steps: int) -> list[list[int]]:
        """The likeliest token at each step, for at most so many: (texts, steps) without start and end."""
        ...


def by_length(sources: Sequence[TokenizedText]) -> list[int]:
    """Longest first, so that texts of one length meet; equal whatever the order they came in."""
    return sorted(range(len(sources)), key=lambda at: (-len(sources[at].tokens), sources[at].episode_id))
