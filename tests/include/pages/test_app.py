"""The pages of a browser: only for those who may, only what is meant to be seen, and nothing that can run."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from selectolax.lexbor import LexborHTMLParser

from include.pages.app import HEADERS, create_app
from include.pages.search import SearchPage
from include.storage import ArtifactStore

PAGE = b"<!DOCTYPE html><html><head></head><body><p>page</p></body></html>"
NOBODY = "http://127.0.0.1:9"
TOKEN = "0123456789abcdef0123"
RUN = "20260101T020000.owner.name.v3"
WITH_REPORT = ("reindex_episodes", "manual__2026-01-01T02:00:00+00:00")
"""The DAG run that has a page, by the ids of its DAG and its own."""


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    store = ArtifactStore(tmp_path / "artifacts")
    store.write_bytes(PAGE, "quality", RUN, "data_docs", "index.html")
    store.write_bytes(b"{}", "quality", RUN, "data_docs", "episodes.json")
    store.write_bytes(PAGE, "reports", "r1", "index.html")
    store.write_bytes(b"{}", "reports", "r1", "report.json")
    store.write_bytes(PAGE, "models", "index.html")
    (tmp_path / "secret.html").write_bytes(b"secret")
    return store


def allow() -> None:
    """Anybody may."""


def refuse() -> None:
    raise HTTPException(401, "<script>alert(1)</script>")


def application(
    store: ArtifactStore, *, quality: bool = True, reports: bool = True, runs: bool = True, search: str = NOBODY
) -> FastAPI:
    return create_app(
        lambda: store,
        lambda: SearchPage(search, TOKEN),
        lambda *ids: "reports/r1/index.html" if ids == WITH_REPORT else None,
        may_read_quality=allow if quality else refuse,
        may_read_reports=allow if reports else refuse,
        may_read_run=allow if runs else refuse,
    )


@pytest.fixture
def client(store: ArtifactStore) -> TestClient:
    return TestClient(application(store), raise_server_exceptions=False)


PATHS = [
    "/quality",
    "/quality/trend",
    "/quality/trend.json",
    f"/quality/{RUN}/data_docs/index.html",
    "/live",
    "/queries",
    "/reports/r1/index.html",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_served_with_headers_that_let_nothing_run(client: TestClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 200
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "script-src" not in answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_every_route_is_behind_a_check(store: ArtifactStore) -> None:
    """Whatever is added: the routes are taken from the application itself."""
    app = application(store, quality=False, reports=False, runs=False)
    client = TestClient(app)
    paths = [route.path.replace("{", "").replace("}", "") for route in app.routes]  # type: ignore[attr-defined]

    assert len(paths) >= 6
    for path in [*paths, *PATHS]:
        answer = client.get(path.replace("/page", "/index.html"))
        assert answer.status_code == 401, path
        assert "Log in to Airflow" in answer.text
        assert "<script>" not in answer.text


def test_reports_and_data_docs_have_checks_of_their_own(store: ArtifactStore) -> None:
    client = TestClient(application(store, reports=False))

    assert client.get("/reports/r1/index.html").status_code == 401
    assert client.get("/quality").status_code == 200


def test_a_run_leads_to_its_page(client: TestClient) -> None:
    answer = client.get("/runs/reindex_episodes/manual__2026-01-01T02%3A00%3A00%2B00%3A00")

    assert [step.status_code for step in answer.history] == [307]
    assert (answer.status_code, answer.url.path) == (200, "/reports/r1/index.html")


def test_a_run_without_a_page_says_so(client: TestClient) -> None:
    answer = client.get("/runs/somebody_elses/manual__1")

    assert answer.status_code == 404
    assert "No task of this run has written a report" in answer.text


def test_the_page_of_a_run_is_behind_its_own_check(store: ArtifactStore) -> None:
    client = TestClient(application(store, reports=False))

    assert client.get("/runs/reindex_episodes/manual__2026-01-01T02:00:00+00:00").status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/quality/../models/data_docs/index.html",
        "/quality/%2e%2e/data_docs/index.html",
        f"/quality/{RUN}/data_docs/..%2fdata_docs%2findex.html",
        f"/quality/{RUN}/data_docs/..%2f..%2f..%2f..%2fsecret.html",
        f"/quality/{RUN}/data_docs/%2e%2e%5csecret.html",
        "/quality/%2fetc/data_docs/passwd",
        "/reports/..%2fmodels/index.html",
        "/reports/%2e%2e/index.html",
        "/reports/./index.html",
        "/reports/r1/report.json",
        f"/quality/{RUN}/episodes.json",
        f"/quality/{RUN}/data_docs/episodes.json",
        "/snapshots/%2e%2e/quarantine",
        "/snapshots/s1%0a/quarantine",
        f"/snapshots/{'é' * 200}/quarantine",
        f"/snapshots/{'x' * 256}/quarantine",
        f"/quality/{'é' * 200}/data_docs/index.html",
        f"/quality/{RUN}/data_docs/{'é' * 100}.html",
        f"/reports/{'中' * 200}/index.html",
        "/models/index.html",
        "/docs",
        "/openapi.json",
    ],
)
def test_nothing_else_of_the_store_or_the_machine_can_be_reached(client: TestClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 404
    assert "secret" not in answer.text
    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path", ["/quality/other/data_docs/index.html", "/reports/other/index.html", "/snapshots/other/quarantine"]
)
def test_a_page_that_is_not_there_yet_is_explained(client: TestClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 404
    assert "has not written it yet" in answer.text


def test_pages_can_only_be_read(client: TestClient) -> None:
    assert client.post("/").status_code == 405
    assert client.delete("/reports/r1/index.html").status_code == 405


def test_a_failure_is_explained_without_what_failed(store: ArtifactStore) -> None:
    def broken() -> ArtifactStore:
        raise OSError("password <script> in s3://bucket")

    client = TestClient(
        create_app(
            broken,
            lambda: SearchPage(NOBODY, None),
            lambda dag_id, run_id: None,
            may_read_quality=allow,
            may_read_reports=allow,
            may_read_run=allow,
        ),
        raise_server_exceptions=False,
    )

    answer = client.get("/quality")

    assert answer.status_code == 500
    assert "password" not in answer.text
    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]


def test_whoever_opens_the_pages_comes_to_what_is_live(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.url.path == "/live"


@pytest.mark.parametrize("path", [*(path for path in PATHS if not path.endswith(".json")), "/reports/other/index.html"])
def test_each_page_has_the_header(client: TestClient, path: str) -> None:
    """Those, too, that were stored when there was none, and those that say what is the matter."""
    server = FastAPI()
    server.mount("/podsearch", client.app)
    page = TestClient(server).get("/podsearch" + path).text
    tree = LexborHTMLParser(page)
    assert urljoin(path, str(tree.css("nav.podsearch a")[0].attributes["href"])) == "/live"
