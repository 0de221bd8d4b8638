"""Errors for programs (RFC 9457) and for people, without revealing internals."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from include.errors import RetryLaterError
from include.index.live import NothingLiveError
from include.search.http import pages
from include.search.http.asked import Question
from include.search.http.capacity import BusyError, TooSlowError
from include.search.service import MAX_QUERY_CHARS, UnknownEpisodeError

log = logging.getLogger(__name__)

PROGRAMS = ("/search", "/suggest", "/episodes/", "/events", "/healthz", "/readyz", "/metrics", "/openapi.json")
"""Addresses for programs: errors there are answered in JSON, elsewhere with a page."""
TOLD = {
    401: ("A token is required", "Send it as Authorization: Bearer, or as the password of Basic."),
    404: ("Not found", "There is nothing at this address."),
    405: ("Method not allowed", "This address is read-only."),
    413: ("Request too large", "Report one event at a time."),
    414: ("Query too long", "Use fewer words."),
    421: ("Wrong host", "Without a token, only this machine is served: use 127.0.0.1, or set a token."),
    422: ("Invalid query", "Each parameter says what is wrong with it."),
    500: ("Something went wrong", "The server's log says what."),
    503: ("Not available right now", "Try again later."),
}
WAIT: dict[type[Exception], int] = {BusyError: 1, TooSlowError: 5, NothingLiveError: 30, RetryLaterError: 30}
"""Temporary failures, and after how many seconds to retry."""
VALUE_CHARS = 200


class Mistake(BaseModel):
    """What was wrong with one parameter."""

    parameter: str
    message: str
    value: str | None = Field(description=f"The value received, up to {VALUE_CHARS} characters of it.")


class Problem(BaseModel):
    """What went wrong."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Mistake] = []


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """A route's error responses, for its description."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": TOLD[status][0], "content": content} for status in statuses}


def told(path: str, status: int, detail: str = "", *, mistakes: list[Mistake] | None = None) -> Response:
    """The error response for a path: JSON for programs, a page for people."""
    title, usual = TOLD.get(status, TOLD[500])
    detail = detail or usual
    if not path.startswith(PROGRAMS):
        return HTMLResponse(pages.message(title, _said(mistakes or []) or detail), status)
    problem = Problem(title=title, status=status, detail=detail, errors=mistakes or [])
    return JSONResponse(problem.model_dump(), status, media_type="application/problem+json")


def add_problems(app: FastAPI) -> None:
    """Make an application, complete with its routes, report errors this way, and describe them."""
    for failure in WAIT:
        app.add_exception_handler(failure, _tell_to_wait)
    app.add_exception_handler(UnknownEpisodeError, lambda request, error: told(request.url.path, 404, str(error)))
    app.add_exception_handler(RequestValidationError, _tell_mistakes)
    app.add_exception_handler(HTTPException, _tell_status)
    app.add_exception_handler(Exception, lambda request, error: told(request.url.path, 500))
    described = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    app.openapi()["components"]["schemas"] |= described.pop("$defs") | {"Problem": described}


def _tell_status(request: Request, error: Exception) -> Response:
    return told(request.url.path, getattr(error, "status_code", 500))


def _tell_to_wait(request: Request, error: Exception) -> Response:
    seconds = next(seconds for failure, seconds in WAIT.items() if isinstance(error, failure))
    known = not isinstance(error, RetryLaterError)
    if not known:  # what another service said is for the log alone
        log.warning("%s", error)
    answer = told(request.url.path, 503, str(error) if known else "")
    answer.headers["Retry-After"] = str(seconds)
    return answer


def _tell_mistakes(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    mistakes = [_mistake(one) for one in error.errors()]
    if request.url.path != "/":
        return told(request.url.path, 422, mistakes=mistakes)
    # What was written stays in the form.
    question = Question.model_construct(q=request.query_params.get("q", "")[:MAX_QUERY_CHARS])
    return HTMLResponse(pages.search(question, None, message=_said(mistakes)), 422)


def _said(mistakes: list[Mistake]) -> str:
    return " ".join(f"{one.parameter}: {one.message}." for one in mistakes)


def _mistake(error: dict[str, Any]) -> Mistake:
    where = [str(part) for part in error["loc"][1:]]
    given = error.get("input")
    return Mistake(
        parameter=".".join(where) or "query",
        message=error["msg"].removeprefix("Value error, "),
        value=given[:VALUE_CHARS] if isinstance(given, str) else None,
    )
