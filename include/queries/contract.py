"""The QueryGenerator contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel, Field

from include.episodes.schema import compose_text

DOC2QUERY = "doc2query"
MULTILINGUAL = "doc2query_multilingual"
"""Origins of the queries that a T5 has written."""


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

    :param origin: how it was made (``title``, ``key_phrase``, ``lead``, :data:`DOC2QUERY`, :data:`MULTILINGUAL`).
    :param positive: the text it must find. If the query was taken from the episode's own words, that part is removed
        from it; otherwise training and evaluation would only learn and measure copying.
    """

    text: str
    origin: str
    positive: str


class GeneratorSpec(BaseModel, frozen=True):
    """Which generator writes the queries, and how: everything that changes them, and nothing else.

    All fields but the name are for ``doc2query``. Where it runs (device, threads, batches) is not part of it, except
    for the ``engine``: two engines draw different queries from the same distribution.
    """

    name: Literal["extractive", "doc2query"] = "extractive"
    """Episodes' own words, or a T5 that was trained to ask questions."""
    model: str = Field(default="doc2query/all-t5-base-v1", min_length=1)
    """The T5: a hub id, or a folder in transformers' format."""
    revision: str | None = None
    """Commit, branch or tag of the hub id (default: its main branch, or see ``load.SAFETENSORS_REVISIONS``)."""
    multilingual_model: str = ""
    """The T5 that writes for episodes that are not in English; the one above: it knows their languages, too; empty: it
    writes for all, but knows English alone."""
    multilingual_revision: str | None = None
    engine: Literal["auto", "torch", "ctranslate2"] = "auto"
    """What runs the T5; ``auto`` takes ``torch`` on a GPU and ``ctranslate2`` on a CPU."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Each token is drawn from the smallest set of likely ones with this total probability; 1 keeps all."""
    top_k: int = Field(default=50, ge=0)
    """And from at most this many; 0 for any number. The article sets only ``top_p``, and so silently gets transformers'
    default of 50."""
    temperature: float = Field(default=1.0, gt=0)
    """Below 1, likely tokens become even likelier."""
    max_input_tokens: int = Field(default=256, ge=8)
    """A longer text is cut."""
    max_output_tokens: int = Field(default=64, ge=1)
    """A longer query is cut."""


class QueryGenerator(Protocol):
    """Writes queries that a listener might use to find an episode.

    The queries of a passage depend only on that passage, the other passages of the call and the seed, so that a retried
    shard gets the same queries.
    """

    name: str
    chunk: int | None
    """How many passages to pass per call, so that a killed task loses little; None: all of them at once, because the
    generator compares the passages of a call."""

    @property
    def tokens(self) -> int:
        """How many tokens it has drawn so far; 0 if it is no model."""
        ...

    def generate(self, passages: Sequence[Passage], n: int, seed: int) -> list[list[Query]]:
        """At most ``n`` distinct queries per passage, in the passages' order; fewer if a text does not yield more."""
        ...
