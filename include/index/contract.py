"""The EpisodeIndex contract that every backend implements: finding episodes by their vectors and by their words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt

from include.errors import PermanentError

Vectors = npt.NDArray[np.float32]

FORMAT = 3
"""Version of a record's format. Raise it when records or their vectors change: every model then gets a new namespace,
which is built in full."""


@dataclass(frozen=True)
class Metadata:
    """What is stored beside a vector: what a hit shows, what to filter by, what words are searched in, and what it was
    made from.

    A namespace of an earlier format has only the first six.
    """

    title: str
    show_title: str
    language: str | None
    published_at: datetime | None
    content_hash: str
    model_version: str
    podcast_id: str = ""
    description: str | None = None
    categories: str | None = None
    duration_seconds: int | None = None
    audio_url: str | None = None


SEARCHED = ("title", "show_title", "description", "categories")
"""The metadata whose words are searched."""
TEXT_FILTERS = ("title", "show_title", "language", "podcast_id", "content_hash", "model_version")
"""The metadata that can be filtered by a text."""


@dataclass(frozen=True)
class Records:
    """A batch of ids, vectors and metadata in the same order.

    :param ids: each once.
    :param values: L2-normalised, shape (n, dimension).
    """

    ids: list[str]
    values: Vectors
    metadata: list[Metadata]

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.values) == len(self.metadata):
            raise ValueError(
                f"{len(self.ids)} ids, {len(self.values)} vectors and {len(self.metadata)} metadata are no batch."
            )
        if len(set(self.ids)) < len(self.ids):
            raise ValueError("An id occurs twice in one batch; which of its vectors to keep is unknown.")


@dataclass(frozen=True)
class Stored:
    """What a namespace holds under one id.

    :param values: shape (dimension,).
    :param metadata: as the backend keeps it; see :meth:`EpisodeIndex.kept`.
    """

    values: Vectors
    metadata: Metadata


@dataclass(frozen=True)
class Period:
    """When an episode was published: from ``since`` on, and before ``until``; one of them may be open.

    Both need a time zone. An episode without a date is in no period.
    """

    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.since is None and self.until is None:
            raise ValueError("A period needs a beginning or an end.")


@dataclass(frozen=True)
class Length:
    """How long an episode lasts, in seconds: at least ``shortest``, and less than ``longest``; one may be open.

    An episode of unknown length is of no length.
    """

    shortest: int | None = None
    longest: int | None = None

    def __post_init__(self) -> None:
        if self.shortest is None and self.longest is None:
            raise ValueError("A length needs a lower or an upper bound.")


Filter = Mapping[str, str | Period | Length]
"""What a hit must match: equality in one of :data:`TEXT_FILTERS`, ``published_at`` in a :class:`Period`, and
``duration_seconds`` within a :class:`Length`."""


def no_filter(name: str, wanted: str | Period | Length) -> ValueError:
    """The error for a filter that does not exist."""
    return ValueError(
        f"There is no filter by {name!r} and {wanted!r}: {', '.join(TEXT_FILTERS)} take a text, published_at a Period, "
        "duration_seconds a Length."
    )


@dataclass(frozen=True)
class Hit:
    """One result of a search; ``score`` is the cosine similarity, or the BM25 score of its words."""

    episode_id: str
    score: float
    metadata: Metadata


class EpisodeIndex(Protocol):
    """Episodes by id in namespaces; a namespace holds the vectors of exactly one model version.

    Two questions can be asked of it: :meth:`search_vectors` and :meth:`search_words`. Combining their answers
    is up to others (see :mod:`include.index.fusion`).

    Every write is idempotent: upserts replace by id, deletes ignore ids that do not exist. Every method that takes a
    namespace, except ``create`` and ``drop``, raises :class:`NamespaceNotFoundError` if it does not exist.
    """

    backend: str
    name: str

    def create(self, namespace: str, dimension: int) -> None:
        """Create a namespace; leave it as it is if it exists.

        :raises IndexMismatchError: it exists with another dimension.
        """
        ...

    def upsert(self, namespace: str, batches: Iterable[Records]) -> int:
        """Write vectors, replacing those with the same id. Returns the number written.

        :raises IndexMismatchError: a batch is of another dimension.
        """
        ...

    def delete(self, namespace: str, ids: Sequence[str]) -> None: ...

    def search_vectors(self, namespace: str, vectors: Vectors, k: int, filter: Filter | None = None) -> list[list[Hit]]:
        """The ``k`` (at least 1) nearest of each query vector (q, dimension), best first, equal scores by id.

        :raises IndexMismatchError: the vectors are of another dimension.
        :raises ValueError: there is no such filter, or ``k`` is less than 1.
        """
        ...

    def search_words(
        self, namespace: str, queries: Sequence[str], k: int, filter: Filter | None = None
    ) -> list[list[Hit]]:
        """The ``k`` (at least 1) episodes whose words (:data:`SEARCHED`) fit each query best by BM25, best first.

        An episode needs at least one of the words. Equal scores are ordered by id. A query is plain text without
        syntax. A namespace of an earlier format has no words and answers nothing.

        :raises ValueError: there is no such filter, or ``k`` is less than 1.
        """
        ...

    def fetch(self, namespace: str, ids: Sequence[str]) -> dict[str, Stored]:
        """What is stored under some ids; ids that do not exist are left out."""
        ...

    def kept(self, metadata: Metadata) -> Metadata:
        """Metadata as it is stored: a backend may cut long texts, and keeps dates in seconds."""
        ...

    def count(self, namespace: str) -> int: ...

    def list_ids(self, namespace: str) -> Iterator[str]: ...

    def namespaces(self) -> list[str]: ...

    def finish(self, namespace: str) -> None:
        """Prepare a namespace for searching after a write: compact it, and build its indexes."""
        ...

    def kind(self, namespace: str) -> str:
        """How a namespace is searched: ``exact``, or the name of the approximate index."""
        ...

    def drop(self, namespace: str) -> None:
        """Remove a namespace and everything in it; harmless if it does not exist."""
        ...


class IndexMismatchError(PermanentError):
    """An index exists, but not with the shape that is needed."""


class NamespaceNotFoundError(RuntimeError):
    """An index does not have a namespace."""

    def __init__(self, namespace: str, index: str, *, setting: str = "PODSEARCH_INDEX_LOCATION") -> None:
        super().__init__(f"The index {index} has no namespace {namespace}. Is {setting} the one it was built with?")
