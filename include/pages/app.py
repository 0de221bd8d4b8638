"""The pages as one web application: what is live, Data Docs, the trend, quarantines and reports.

The pages lie in the artifact store, or are made from it when they are asked for. They run in a reader's session and
quote text of other people's feeds, hence no script may run in them. Who may read them is for the server to say that
mounts the application: it hands over the checks.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import fastapi
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from include.evaluation.reports import reports_page
from include.feedback.page import queries_page
from include.index.live_page import live_page
from include.pages.header import with_header
from include.pages.search import SearchNotThereError, SearchPage
from include.quality import pages, profile, trend
from include.storage import ArtifactStore

log = logging.getLogger(__name__)

Name = Annotated[str, fastapi.Path(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.:+=@-]{0,199}$")]
"""One name of a path: no separator, no dot to begin with, and no longer than a file may be called."""
Page = Annotated[str, fastapi.Path(pattern=r"^[A-Za-z0-9_-]{1,100}\.html$")]
Check = Callable[..., None]
"""A dependency that raises an HTTP error, 401 or 403, when a request may not go on."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}
ICON = (Path(__file__).parents[1] / "search" / "http" / "templates" / "icon.svg").read_bytes()
"""Of the entry in Airflow's navigation."""
EXPLAINED = {
    401: ("Not logged in", "Log in to Airflow, then load this page again."),
    403: ("Not allowed", "Your role may not read the task logs of the DAG that this page belongs to."),
    404: ("Not found", "There is no such page: its task has not written it yet, or it has been removed."),
    405: ("Method not allowed", "Pages are read-only."),
    503: (
        "Search does not answer",
        "Start it with make up or make serve; PODSEARCH_SEARCH_HOST and PODSEARCH_SEARCH_PORT set its address.",
    ),
    500: ("Something went wrong", "The page could not be made. The web server's log says why."),
}
OF_NO_RUN = ("Nothing to show", "No task of this run has written a report or Data Docs (yet).")


def artifact_store(request: Request) -> ArtifactStore:
    """The store that the application was made for."""
    store: ArtifactStore = request.app.state.open_store()
    return store


Store = Annotated[ArtifactStore, Depends(artifact_store)]
quality = APIRouter()
reports = APIRouter()
runs = APIRouter()


def create_app(
    open_store: Callable[[], ArtifactStore],
    open_search: Callable[[], SearchPage],
    page_of_run: Callable[[str, str], str | None],
    *,
    may_read_quality: Check,
    may_read_reports: Check,
    may_read_run: Check,
) -> FastAPI:
    """The application; each of its routes is behind one of the checks.

    :param open_store: called when a page is asked for, so that wrong settings break a page and not the server.
    :param open_search: likewise, for the first page of search.
    :param page_of_run: where the page of a DAG run is, below the prefix of the pages, by the ids of its DAG and its
        own; None if it has none.
    """
    app = FastAPI(title="podsearch", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.open_store = open_store
    app.state.open_search = lru_cache(maxsize=1)(open_search)
    app.state.page_of_run = page_of_run
    app.include_router(quality, dependencies=[Depends(may_read_quality)])
    app.include_router(reports, dependencies=[Depends(may_read_reports)])
    app.include_router(runs, dependencies=[Depends(may_read_run)])
    for error in (HTTPException, RequestValidationError, FileNotFoundError, SearchNotThereError, Exception):
        app.add_exception_handler(error, _explain)
    app.middleware("http")(_protect)
    return app


@quality.get("/quality")
def latest_runs(request: Request, store: Store) -> HTMLResponse:
    return _page(request, pages.latest_runs(store))


@quality.get("/quality/trend")
def catalogue_trend(request: Request, store: Store) -> HTMLResponse:
    return _page(request, pages.catalogue_trend(store))


@quality.get("/quality/trend.json")
def figures(store: Store) -> JSONResponse:
    return JSONResponse(trend.rows(profile.published(store, window=trend.WINDOW)))


@quality.get("/quality/{run}/data_docs/{page}")
def data_docs(request: Request, store: Store, run: Name, page: Page) -> HTMLResponse:
    return _page(request, store.read_bytes("quality", run, "data_docs", page))


@quality.get("/snapshots/{snapshot_id}/quarantine")
def quarantine(request: Request, store: Store, snapshot_id: Name) -> HTMLResponse:
    return _page(request, pages.quarantine(store, snapshot_id))


@reports.get("/")
def first_page() -> RedirectResponse:
    return RedirectResponse("live")


@reports.get("/icon.svg")
def icon() -> Response:
    return Response(ICON, media_type="image/svg+xml")


@reports.get("/live")
def live(request: Request, store: Store) -> HTMLResponse:
    return _page(request, live_page(store))


@reports.get("/queries")
def queries(request: Request, store: Store) -> HTMLResponse:
    return _page(request, queries_page(store))


@reports.get("/reports")
def all_reports(request: Request, store: Store) -> HTMLResponse:
    return _page(request, reports_page(store))


@reports.get("/reports/{report_id}/index.html")
def report(request: Request, store: Store, report_id: Name) -> HTMLResponse:
    return _page(request, store.read_bytes("reports", report_id, "index.html"))


@reports.get("/search/{path:path}")
async def search(request: Request, path: str) -> Response:
    page: SearchPage = request.app.state.open_search()
    return await page.answer(path, request)


@runs.get("/runs/{dag_id}/{run_id}")
def run(request: Request, dag_id: str, run_id: str) -> Response:
    """Redirect to the page of a DAG run, which has a check of its own."""
    path = request.app.state.page_of_run(dag_id, run_id)
    return RedirectResponse(f"../../{path}") if path else _page(request, pages.message(*OF_NO_RUN), 404)


def _page(request: Request, page: str | bytes, status: int = 200) -> HTMLResponse:
    page = page.encode() if isinstance(page, str) else page
    below = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return HTMLResponse(with_header(page, below), status, HEADERS)


def _explain(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    if isinstance(error, RequestValidationError | FileNotFoundError):
        status = 404
    elif isinstance(error, SearchNotThereError):
        log.warning("Search does not answer: %s", error)
        status = 503
    return _page(request, pages.message(*EXPLAINED.get(status, EXPLAINED[500])), status)


async def _protect(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
