"""The parameters of a URL, for programs and for the page alike."""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from include.episodes.quarantine import MAX_ID_CHARS
from include.feedback.events import SESSION
from include.index.contract import Filter, Length, Period
from include.search.service import MAX_QUERY_CHARS, MAX_RESULTS, Mode

PAGE = 10
"""Results per page, unless a program asks for another number."""
SUGGESTED, MAX_SUGGESTED = 8, 50
"""How many titles are suggested."""
FIRST, LAST = date(1900, 1, 1), date(2999, 12, 31)
MAX_MINUTES = 10_000
WORDS = {"L", "N", "S"}
"""Unicode categories of meaningful characters: letters, digits, and symbols such as emoji."""


def _absent(value: Any) -> Any:
    """A form also sends its empty fields."""
    return None if isinstance(value, str) and not value.strip() else value


def _plain(value: str | None) -> str | None:
    if value and any(unicodedata.category(sign) in {"Cc", "Cs"} for sign in value):
        raise ValueError("it contains control characters")
    return value


Name = Annotated[
    Annotated[str, Field(max_length=MAX_ID_CHARS)] | None, BeforeValidator(_absent), AfterValidator(_plain)
]
Day = Annotated[Annotated[date, Field(ge=FIRST, le=LAST)] | None, BeforeValidator(_absent)]
Number = Annotated[Annotated[int, Field(ge=0, le=MAX_RESULTS)] | None, BeforeValidator(_absent)]
Minutes = Annotated[Annotated[int, Field(ge=1, le=MAX_MINUTES)] | None, BeforeValidator(_absent)]


class Wanted(BaseModel):
    """Filters: which episodes may be found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Name = Field(
        default=None, description="Only shows in this language, as the catalogue names it.", examples=["English"]
    )
    show: Name = Field(default=None, description="Only episodes of the show with this `show_id`.")
    since: Day = Field(default=None, description="Published on this day or later.", examples=["2016-01-01"])
    until: Day = Field(default=None, description="Published on this day or earlier.", examples=["2017-12-31"])
    shortest: Minutes = Field(default=None, description="At least this many minutes long.", examples=[10])
    longest: Minutes = Field(default=None, description="At most this many minutes long.", examples=[60])

    @model_validator(mode="after")
    def _in_order(self) -> Wanted:
        if self.since and self.until and self.since > self.until:
            raise ValueError(f"since ({self.since}) is after until ({self.until})")
        if self.shortest and self.longest and self.shortest > self.longest:
            raise ValueError(f"shortest ({self.shortest}) is greater than longest ({self.longest})")
        return self

    @property
    def filter(self) -> Filter | None:
        """The same for an index."""
        wanted: dict[str, str | Period | Length] = {}
        if self.language:
            wanted["language"] = self.language
        if self.show:
            wanted["podcast_id"] = self.show
        if self.since or self.until:
            wanted["published_at"] = Period(
                _midnight(self.since) if self.since else None,
                _midnight(self.until + timedelta(days=1)) if self.until else None,
            )
        if self.shortest or self.longest:
            wanted["duration_seconds"] = Length(
                60 * self.shortest if self.shortest else None, 60 * self.longest + 1 if self.longest else None
            )
        return wanted or None


class Question(Wanted):
    """A query, how to answer it, and which page of the answer to return; the page's form sends it.

    Parameters that others append to shared addresses (``utm_source``) are ignored.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    q: str = Field(default="", max_length=MAX_QUERY_CHARS)
    mode: Mode = Field(
        default="hybrid", description="By meaning and words, by meaning alone (dense), or by words alone (lexical)."
    )
    per_show: Number = Field(
        default=None,
        description="At most this many results per show, unless `show` is given; 0: any number (default: the server's "
        "setting).",
        examples=[1],
    )
    page: int = Field(default=1, ge=1, le=MAX_RESULTS, description="Page number: page 1 has the first `k` results.")
    explain: bool = Field(default=False, description="Also give each result's rank and score by meaning and by words.")

    @property
    def text(self) -> str:
        return " ".join(self.q.split())

    def link(self, **changes: Any) -> str:
        """The query string of this question with some changes; it starts at the first page unless the page is
        changed."""
        values = self.model_dump(mode="json", exclude_defaults=True) | {"page": None} | changes
        return "?" + urlencode({name: value for name, value in values.items() if value is not None})


class ProgramsQuestion(Question):
    """The same from a program: it needs a query, may set the number of results, and is told about mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: str = Field(
        max_length=MAX_QUERY_CHARS,
        description="What you are looking for, in your own words.",
        examples=["eat better during the holidays"],
    )
    k: int = Field(default=PAGE, ge=1, le=MAX_RESULTS, description="Results per page.")
    session: str | None = Field(
        default=None,
        pattern=f"^{SESSION}$",
        description="A random id of the listener's session, not a name or an account. A server that records searches "
        "then records this one.",
    )

    @field_validator("q")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not says_something(value):
            raise ValueError("it contains no word to search for")
        return value

    @model_validator(mode="after")
    def _within_reach(self) -> ProgramsQuestion:
        if (self.page - 1) * self.k >= MAX_RESULTS:
            raise ValueError(f"page {self.page} of {self.k} results starts after the first {MAX_RESULTS} results")
        return self


class Like(Wanted):
    """How many similar episodes to return, and with which filters."""

    k: int = Field(default=PAGE, ge=1, le=MAX_RESULTS, description="Number of results.")


class Beginning(BaseModel):
    """What somebody has typed so far."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: str = Field(max_length=200, description="The beginning of one or more words of a title.", examples=["holi"])
    k: int = Field(default=SUGGESTED, ge=1, le=MAX_SUGGESTED, description="Number of titles.")


def says_something(query: str) -> bool:
    """Whether a query has a letter, a digit or a symbol, such as an emoji."""
    return any(unicodedata.category(sign)[0] in WORDS for sign in query)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
