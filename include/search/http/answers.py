"""Answers for programs: episodes, and where they came from."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from include.index.contract import Metadata
from include.index.live import LivePointer
from include.search.http.shown import audio
from include.search.service import Answer, Mode
from include.search.vocabulary import Suggestion


class Live(BaseModel):
    """What an answer came from."""

    model: str = Field(examples=["20260102T030405-all-minilm-l6-v2-0a1b2c3d"])
    namespace: str
    snapshot: str
    since: datetime = Field(description="When it went live.")

    @classmethod
    def of(cls, live: LivePointer) -> Live:
        return cls(
            model=live.model_version, namespace=live.namespace, snapshot=live.snapshot_id, since=live.activated_at
        )


class Episode(BaseModel):
    """One episode, as what is live has it."""

    id: str
    title: str
    show: str
    show_id: str
    description: str | None
    language: str | None
    categories: str | None
    published: datetime | None
    seconds: int | None = Field(description="Its length.")
    audio_url: str | None = Field(description="An http or https address; null if the feed gave none.")

    @classmethod
    def of(cls, episode_id: str, metadata: Metadata, **more: Any) -> Any:
        return cls(
            id=episode_id,
            title=metadata.title,
            show=metadata.show_title,
            show_id=metadata.podcast_id,
            description=metadata.description,
            language=metadata.language,
            categories=metadata.categories,
            published=metadata.published_at,
            seconds=metadata.duration_seconds,
            audio_url=audio(metadata.audio_url),
            **more,
        )


class Side(BaseModel):
    """The rank and score of a result on one side of the search."""

    rank: int
    score: float = Field(description="The cosine of meaning, or BM25 of words.")


class Moved(BaseModel):
    """What the cross-encoder made of a result."""

    score: float = Field(description="In its own measure; the more the better.")
    before: int = Field(description="The rank of the result without it, before `per_show` takes any out.")


class Explanation(BaseModel):
    """A result's place on each side; null if it is not among that side's first hundred, or the side was not used."""

    dense: Side | None
    lexical: Side | None
    reranked: Moved | None = Field(
        default=None, description="Where a cross-encoder re-ranks the first results of `hybrid`; null elsewhere."
    )


class Found(Episode):
    """An episode that was found."""

    rank: int
    score: float = Field(
        description="Comparable within one answer only: a fused score (0 to 1), the cosine, or BM25. Re-ranked results "
        "are not in its order."
    )
    explanation: Explanation | None = Field(default=None, description="Present if `explain` is true.")


class EpisodeAnswer(BaseModel):
    """One episode, and what it came from."""

    live: Live
    episode: Episode


class SimilarAnswer(BaseModel):
    """The episodes nearest to one episode, best first."""

    live: Live
    episode: Episode
    results: list[Found]


class SearchAnswer(BaseModel):
    """One page of the answer to a query."""

    live: Live
    query: str
    mode: Mode
    page: int
    k: int
    found: int = Field(description="Results that can be paged through: at most a hundred.")
    search_id: str | None = Field(description="For reports to `POST /events`; null if it is not recorded.")
    results: list[Found]


class Suggested(BaseModel):
    """A title."""

    text: str
    kind: Literal["show", "episode"]
    id: str = Field(description="The `show_id` of a show, or the `id` of one of the episodes of that title.")


class Suggestions(BaseModel):
    """The titles that go on as a text begins, the likeliest first."""

    snapshot: str = Field(description="The titles' snapshot; shortly after a change, still the previous one.")
    query: str
    suggestions: list[Suggested]

    @classmethod
    def of(cls, query: str, snapshot: str, found: list[Suggestion]) -> Suggestions:
        suggested = [Suggested.model_validate(one, from_attributes=True) for one in found]
        return cls(snapshot=snapshot, query=query, suggestions=suggested)


def found(answer: Answer, *, first: int, count: int, explain: bool = False) -> list[Found]:
    """Some results of an answer.

    :param first: rank of the first of them, from 1.
    """
    return [
        Found.of(
            result.episode_id,
            result.metadata,
            rank=rank,
            score=result.score,
            explanation=Explanation.model_validate(result, from_attributes=True) if explain else None,
        )
        for rank, result in enumerate(answer.results[first - 1 : first - 1 + count], start=first)
    ]
