"""What can be asked for in a URL: by programs and by the page alike."""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from include.feedback.events import SESSION
from include.index.contract import Filter, Length, Period
from include.search.service import MAX_QUERY_CHARS, MAX_RESULTS, Mode

PAGE = 10
"""Results of a page, unless a program wants another number."""
SUGGESTED, MAX_SUGGESTED = 8, 50
"""Titles that are suggested."""
FIRST, LAST = date(1900, 1, 1), date(2999, 12, 31)
MAX_MINUTES = 10_000
WORDS = {"L", "N", "S"}
"""Categories of signs that say something: letters, digits, and symbols such as emoji."""


def _absent(value: Any) -> Any:
    """A form sends its empty fields, too."""
    return None if isinstance(value, str) and not value.strip() else value


def _plain(value: str | None) -> str | None:
    if value and any(unicodedata.category(sign) in {"Cc", "Cs"} for sign in value):
        raise ValueError("it holds control characters")
    return value


Name = Annotated[Annotated[str, Field(max_length=200)] | None, BeforeValidator(_absent), AfterValidator(_plain)]
Day = Annotated[Annotated[date, Field(ge=FIRST, le=LAST)] | None, BeforeValidator(_absent)]
Number = Annotated[Annotated[int, Field(ge=0, le=MAX_RESULTS)] | None, BeforeValidator(_absent)]
Minutes = Annotated[Annotated[int, Field(ge=1, le=MAX_MINUTES)] | None, BeforeValidator(_absent)]


class Wanted(BaseModel):
    """Which episodes come into question."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Name = Field(
        default=None, description="Only shows in this language, as the catalogue names it.", examples=["English"]
    )
    show: Name = Field(default=None, description="Only episodes of the show with this `show_id`.")
    since: Day = Field(default=None, description="Published on this day or later.", examples=["2016-01-01"])
    until: Day = Field(default=None, description="Published on this day or earlier.", examples=["2017-12-31"])
    shortest: Minutes = Field(default=None, description="At least so many minutes long.", examples=[10])
    longest: Minutes = Field(default=None, description="At most so many minutes long.", examples=[60])

    @model_validator(mode="after")
    def _in_order(self) -> Wanted:
        if self.since and self.until and self.since > self.until:
            raise ValueError(f"since ({self.since}) is after until ({self.until})")
        if self.shortest and self.longest and self.shortest > self.longest:
            raise ValueError(f"shortest ({self.shortest}) is more than longest ({self.longest})")
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
    """A query, how it is answered, and which page of the answer is wanted; the page's form sends it.

    What others append to an address that is sent around (``utm_source``) is nothing to us.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    q: str = Field(default="", max_length=MAX_QUERY_CHARS)
    mode: Mode = Field(
        default="hybrid", description="By meaning and words, by meaning alone (dense), or by words alone (lexical)."
    )
    per_show: Number = Field(
        default=None,
        description="At most so many results of one show, unless `show` is given; 0: any number (default: as the "
        "server is set).",
        examples=[1],
    )
    page: int = Field(default=1, ge=1, le=MAX_RESULTS, description="Which results: 1 has the first `k`.")
    explain: bool = Field(default=False, description="Also say where meaning and words each have a result.")

    @property
    def text(self) -> str:
        return " ".join(self.q.split())

    def link(self, **changes: Any) -> str:
        """The query string of this question with some things changed: from its first page on, unless that is one."""
        values = self.model_dump(mode="json", exclude_defaults=True) | {"page": None} | changes
        return "?" + urlencode({name: value for name, value in values.items() if value is not None})


class ProgramsQuestion(Question):
    """The same as a program asks it: it needs a query, may want another number of results, and is told of mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: str = Field(
        max_length=MAX_QUERY_CHARS,
        description="What is looked for, in one's own words.",
        examples=["eat better during the holidays"],
    )
    k: int = Field(default=PAGE, ge=1, le=MAX_RESULTS, description="Results of a page.")
    session: str | None = Field(
        default=None,
        pattern=f"^{SESSION}$",
        description="A random id of the listener's session, no name and no account: a server that records searches "
        "records this one then.",
    )

    @field_validator("q")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not says_something(value):
            raise ValueError("there is no word in it to look for")
        return value

    @model_validator(mode="after")
    def _within_reach(self) -> ProgramsQuestion:
        if (self.page - 1) * self.k >= MAX_RESULTS:
            raise ValueError(f"page {self.page} of {self.k} begins beyond the first {MAX_RESULTS} results")
        return self


class Like(Wanted):
    """How many similar episodes are wanted, and of which."""

    k: int = Field(default=PAGE, ge=1, le=MAX_RESULTS, description="Number of results.")


class Beginning(BaseModel):
    """What somebody has typed so far."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: str = Field(max_length=200, description="The beginning of a word of a title, or of several.", examples=["holi"])
    k: int = Field(default=SUGGESTED, ge=1, le=MAX_SUGGESTED, description="Number of titles.")


def says_something(query: str) -> bool:
    """Whether a query has a letter, a digit or a symbol, such as an emoji."""
    return any(unicodedata.category(sign)[0] in WORDS for sign in query)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
