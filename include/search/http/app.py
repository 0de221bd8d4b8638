"""The web application: its routes, and who may use them."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.episodes.quarantine import MAX_ID_CHARS
from include.feedback.recorder import Recorder
from include.search.http import pages, recording
from include.search.http.access import CHALLENGES, has_token, is_loopback, read_token
from include.search.http.answers import Episode, EpisodeAnswer, Live, SearchAnswer, SimilarAnswer, Suggestions, found
from include.search.http.asked import PAGE, Beginning, Like, ProgramsQuestion, Question, says_something
from include.search.http.desk import Desk
from include.search.http.metrics import CONTENT_TYPE, Metrics
from include.search.http.problems import add_problems, documented, told
from include.search.http.recording import Recording
from include.search.service import MAX_RESULTS, Answer, SearchService, UnknownEpisodeError

log = logging.getLogger(__name__)

POLICY = "Content-Security-Policy"
HEADERS = {
    POLICY: "default-src 'none'; style-src 'self'; img-src 'self'; media-src http: https:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
OPEN = {"/healthz", "/readyz", "/style.css", "/icon.svg"}
"""Paths that need no token: health checks have none, nor does a page that asks for one."""
KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}
"""Caching of files whose address contains their version."""
MAX_ADDRESS_BYTES = 16 * 2**10
"""Maximum length of a path and its query: a thousand characters, escaped, are at most twelve thousand."""
MAX_BODY_BYTES = 4 * 2**10
"""Maximum size of a report to be recorded."""
AT_WORK = max(2, len(os.sched_getaffinity(0)))
"""Searches that are worked on at a time: as many as there are cores, because more would each take longer and be no more
a second; twice as many where they wait for an index on other machines."""
WAITING = 64
"""Searches that may wait for that; those beyond are turned away."""
PATIENCE = 0.22
"""Seconds after which a search that had to wait should be done."""
SECONDS = 10.0
"""How long a search may take, its wait included."""


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]
Recorded = Annotated[Recording, Depends(Recording)]
EpisodeId = Annotated[str, Path(max_length=MAX_ID_CHARS, description="The `id` of an episode.")]
programs = APIRouter(responses=documented(401, 422, 503))
people = APIRouter(include_in_schema=False)
watchers = APIRouter()


def create_app(
    open_service: Callable[[], SearchService],
    *,
    token: str | None = None,
    recorder: Recorder | None = None,
    at_work: int = AT_WORK,
    waiting: int = WAITING,
    patience: float = PATIENCE,
    seconds: float = SECONDS,
) -> ASGIApp:
    """The application; for the first parameter see :class:`include.search.http.desk.Desk`, for the last four
    :class:`include.search.http.capacity.Capacity`.

    :param token: the token that requests must have; None lets everybody in.
    :param recorder: records searches and plays; None records nothing.
    """
    desk = Desk(open_service, at_work=at_work, waiting=waiting, patience=patience, seconds=seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.begin()
        if recorder:
            recorder.begin()
        yield
        desk.close()
        if recorder:
            await asyncio.to_thread(recorder.close)

    app = FastAPI(
        title="podsearch",
        version="1",
        description="Finds podcast episodes by what they are about.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.desk = desk
    app.state.recorder = recorder
    app.state.metrics = Metrics(desk, recorder)
    for router in (programs, people, watchers, *([recording.events] if recorder else [])):
        app.include_router(router)
    add_problems(app)
    return Guarded(app, token, app.state.metrics, policy=recording.POLICY if recorder else "")


def from_settings() -> ASGIApp:
    """The application that the settings name.

    :raises SettingsError: something is wrong with them.
    """
    from include.search.opening import open_search
    from include.settings import get_settings
    from include.storage import ArtifactStore

    settings = get_settings()
    days = settings.search.record_days
    return create_app(
        lambda: open_search(settings),
        at_work=2 * AT_WORK if settings.index.backend == "pinecone" else AT_WORK,
        token=read_token(settings.search.token_file),
        recorder=Recorder(ArtifactStore(settings.installation.artifacts_root), days) if days else None,
    )


@programs.get("/search")
async def search(asked: Annotated[ProgramsQuestion, Query()], desk: AtDesk, recorded: Recorded) -> SearchAnswer:
    """The episodes that answer a query best."""
    answer = await desk.ask(lambda service: _answered(service, asked))
    first, search_id = 1 + (asked.page - 1) * asked.k, None
    if asked.session:
        search_id, _ = recorded.searched(asked.text, answer, first=first, count=asked.k, session=asked.session)
    return SearchAnswer(
        live=Live.of(answer.live),
        query=asked.text,
        mode=asked.mode,
        page=asked.page,
        k=asked.k,
        found=len(answer.results),
        search_id=search_id,
        results=found(answer, first=first, count=asked.k, explain=asked.explain),
    )


@programs.get("/episodes/{episode_id:path}/similar", responses=documented(404))
async def similar_episodes(episode_id: EpisodeId, asked: Annotated[Like, Query()], desk: AtDesk) -> SimilarAnswer:
    """The other episodes whose meaning is nearest, best first."""
    answer = await desk.ask(lambda service: service.similar(episode_id, asked.k, asked.filter))
    return SimilarAnswer(
        live=Live.of(answer.live),
        episode=Episode.of(episode_id, answer.metadata),
        results=found(answer, first=1, count=asked.k),
    )


@programs.get("/episodes/{episode_id:path}", responses=documented(404))
async def one_episode(episode_id: EpisodeId, desk: AtDesk) -> EpisodeAnswer:
    """One episode."""
    live, there = await desk.ask(lambda service: service.fetch([episode_id]))
    if episode_id not in there:
        raise UnknownEpisodeError(episode_id)
    return EpisodeAnswer(live=Live.of(live), episode=Episode.of(episode_id, there[episode_id]))


@programs.get("/suggest")
async def suggest(asked: Annotated[Beginning, Query()], desk: AtDesk) -> Suggestions:
    """The titles of shows and episodes in which a word begins so."""

    def found(service: SearchService) -> Suggestions:
        vocabulary = service.vocabulary()
        return Suggestions.of(asked.q, vocabulary.snapshot_id, vocabulary.suggest(asked.q, asked.k))

    return await desk.ask(found)


@people.get("/")
async def search_page(
    asked: Annotated[Question, Query()], request: Request, desk: AtDesk, recorded: Recorded
) -> HTMLResponse:
    def made(service: SearchService) -> tuple[str, str | None]:
        shows = service.largest_shows(pages.SHOWS)
        if says_something(asked.text):
            answer = _answered(service, asked)
            first = 1 + (asked.page - 1) * PAGE
            search_id, session = recorded.searched(asked.text, answer, first=first, count=PAGE)
            meant = service.meant(asked.text)
            page = pages.search(asked, answer, shows=shows, meant=meant, search_id=search_id, kept_days=recorded.days)
            return page, session
        empty = "Say what you are looking for." if "q" in request.query_params else ""
        message = "That contains no word to search for." if asked.text else empty
        return pages.search(asked, None, shows=shows, message=message, kept_days=recorded.days), None

    page, session = await desk.ask(made)
    response = HTMLResponse(page)
    recorded.remember(response, session)
    return response


@people.get("/similar/{episode_id:path}")
async def similar_page(episode_id: EpisodeId, desk: AtDesk, recorded: Recorded, search: str = "") -> HTMLResponse:
    answer = await desk.ask(lambda service: service.similar(episode_id))
    search_id = recorded.opened(search, episode_id)
    return HTMLResponse(pages.similar(episode_id, answer, search_id=search_id, kept_days=recorded.days))


@people.get("/style.css")
async def style() -> Response:
    return Response(pages.STYLE, media_type="text/css", headers=KEPT)


@people.get("/icon.svg")
async def icon() -> Response:
    return Response(pages.ICON, media_type="image/svg+xml", headers=KEPT)


@watchers.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the server runs."""
    return {"status": "ok"}


@watchers.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Metrics of the server's process, for Prometheus."""
    counted: Metrics = request.app.state.metrics
    return Response(counted.text(), media_type=CONTENT_TYPE)


@watchers.get("/readyz", responses=documented(503))
async def readyz(desk: AtDesk) -> dict[str, str]:
    """Whether something is live, and open."""
    await desk.watch()
    return {"status": "ready"}


def _answered(service: SearchService, asked: Question) -> Answer:
    return service.answer(asked.text, MAX_RESULTS, asked.filter, mode=asked.mode, per_show=asked.per_show)


class Guarded:
    """An application behind its token; every answer has the headers that a page of other people's text needs.

    A log line says how each request ended, but not what was searched for.

    :param policy: what pages may do beyond that.
    """

    def __init__(self, app: ASGIApp, token: str | None, metrics: Metrics, *, policy: str = "") -> None:
        self._app = app
        self._token = token
        self._metrics = metrics
        self._headers = {**HEADERS, POLICY: HEADERS[POLICY] + policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun, status, method = time.perf_counter(), 0, scope["method"]
        if method == "HEAD":  # as GET, but the server sends no body: so nobody sees what is found, and it is no search
            scope = {**scope, "method": "GET", "headers": [(b"dnt", b"1"), *scope["headers"]]}

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                headers.update(self._headers)
                headers.setdefault("Cache-Control", "private, no-cache")
            await send(message)

        try:
            await self._chosen(scope)(scope, receive, send_guarded)
        finally:
            took = time.perf_counter() - begun
            self._metrics.answered(getattr(scope.get("route"), "path_format", None), status, took)
            path = scope["path"].encode("unicode_escape").decode()
            log.info("%s %s %d %.0f ms", method, path, status, 1000 * took)

    def _chosen(self, scope: Scope) -> ASGIApp:
        """What answers a request."""
        if len(scope["path"]) + len(scope["query_string"]) > MAX_ADDRESS_BYTES:
            return told(scope["path"], 414)
        headers = Headers(scope=scope)
        sent = (scope["method"], scope["path"]) == ("POST", recording.PATH)
        if sent and not _is_short(headers.get("Content-Length", "")):
            return told(scope["path"], 413)
        if self._token is None and not is_loopback(_host(headers.get("Host", ""))):
            return told(scope["path"], 421)  # a page of another host, which has its name lead here, would read along
        if self._token is None or scope["path"] in OPEN or has_token(headers.get("Authorization", ""), self._token):
            return self._app
        refused = told(scope["path"], 401)
        for challenge in CHALLENGES:
            refused.headers.append("WWW-Authenticate", challenge)
        return refused


def _is_short(length: str) -> bool:
    """Whether a body states its length and is not too long."""
    return length.isascii() and length.isdecimal() and int(length[:20]) <= MAX_BODY_BYTES


def _host(named: str) -> str:
    """Of ``Host``, without the port."""
    return (named.rpartition("]")[0] if named.startswith("[") else named.partition(":")[0]).strip("[]")
