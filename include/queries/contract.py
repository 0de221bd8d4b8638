"""The QueryGenerator contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from include.episodes.schema import compose_text


@dataclass(frozen=True)
class Passage:
    """The parts of one episode that queries are written from."""

    episode_id: str
    title: str
    description: str
    show_title: str
    show_description: str | None = None
    language: str | None = None

    def text(self, *, title: bool = True, description: str | None = None) -> str:
        """The episode's text; ``title=False`` or another ``description`` hold a part of it out."""
        return compose_text(
            self.title if title else "",
            self.description if description is None else description,
            self.show_title,
            self.show_description,
        )


@dataclass(frozen=True)
class Query:
    """One generated query.

    :param origin: how it was made (``title``, ``key_phrase``, ``lead``, ``doc2query``).
    :param positive: the text it must find. Where the query was taken from the episode's own words, that part is held
        out of it: else training and evaluation would only learn and measure copying.
    """

    text: str
    origin: str
    positive: str


class QueryGenerator(Protocol):
    """Writes the queries a listener might have asked to find an episode.

    Queries of a passage depend on that passage, the other passages of the call and the seed only, so that a retried
    shard ends in the same queries.
    """

    name: str

    def generate(self, passages: Sequence[Passage], n: int, seed: int) -> list[list[Query]]:
        """At most ``n`` distinct queries a passage, in the passages' order; fewer where a text does not carry more."""
        ...


def create_generator(name: str) -> QueryGenerator:
    """The generator that the setting ``query_generator`` names.

    :raises ValueError: there is no such generator.
    """
    if name == "extractive":
        from include.queries.extractive import ExtractiveQueryGenerator

        return ExtractiveQueryGenerator()
    raise ValueError(f"Unknown query generator {name!r}: set PODSEARCH_QUERY_GENERATOR to 'extractive'.")
