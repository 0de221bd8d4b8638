"""Search behind Airflow's login: the page of the service, passed on; nothing of the reader goes there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urljoin, urlsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from selectolax.lexbor import LexborHTMLParser

from include.pages.app import create_app
from include.pages.search import POLICY, SearchPage
from include.search.http import pages
from include.search.http.asked import Question
from include.storage import ArtifactStore

TOKEN = "0123456789abcdef0123"
PREFIX = "/podsearch/search/"


class Service(BaseHTTPRequestHandler):
    """Stands in for the service: its real page, and what it was asked with."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        kind = "text/css" if path == "/style.css" else "text/html; charset=utf-8"
        body = {
            "/": pages.search(Question(q="owl"), None, shows=['<a href="/nowhere">'], message='href="/text"'),
            "/style.css": "body {}",
            "/asked": json.dumps({"path": self.path, **dict(self.headers)}),
        }.get(path, pages.message("Not found", path))
        self.send_response(200 if path in ("/", "/style.css", "/asked") else 404)
        self.send_header("Content-Type", kind if path != "/asked" else "application/json")
        self.send_header("Set-Cookie", "podsearch_session=s")
        self.send_header("Cache-Control", "private, no-cache")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def client(url: str) -> TestClient:
    """Whoever may read everything, at a server that has the pages below a prefix."""
    app = create_app(
        lambda: ArtifactStore("/nowhere"),
        lambda: SearchPage(url, TOKEN),
        lambda dag_id, run_id: None,
        may_read_quality=lambda: None,
        may_read_reports=lambda: None,
        may_read_run=lambda: None,
    )
    server = FastAPI()
    server.mount("/podsearch", app)
    return TestClient(server, headers={"Cookie": "_token=secret", "Authorization": "Bearer secret"})


@pytest.fixture
def page(service: str) -> Iterator[TestClient]:
    with client(service) as client_:
        yield client_


@pytest.mark.parametrize(("path", "status"), [("", 200), ("similar/e1", 404), ("a/b/c", 404)])
def test_every_link_leads_here(page: TestClient, path: str, status: int) -> None:
    answer = page.get(PREFIX + path, params={"q": "owl"})
    assert answer.status_code == status
    tree = LexborHTMLParser(answer.text)
    assert [one.text() for one in tree.css("nav.podsearch [aria-current]")] == ["Search"]
    found = {
        urljoin(PREFIX + path, str(node.attributes[name]))
        for name in ("href", "src", "action")
        for node in tree.css(f"body > :not(nav) [{name}], link[{name}]")
        if not str(node.attributes[name]).startswith("#")
    }
    assert {PREFIX + "style.css", PREFIX, PREFIX + "icon.svg"} <= {one.partition("?")[0] for one in found}
    assert all(one.startswith(PREFIX) for one in found), found


def test_what_the_page_quotes_stays_as_it_is(page: TestClient) -> None:
    tree = LexborHTMLParser(page.get(PREFIX).text)
    assert [one.text() for one in tree.css("[role=alert]")] == ['href="/text"']
    assert [one.text() for one in tree.css(".examples a")] == ['<a href="/nowhere">']


def test_its_policy_lets_nothing_run_and_airflow_frame_it(page: TestClient) -> None:
    headers = page.get(PREFIX).headers
    assert headers["Content-Security-Policy"] == POLICY
    assert "script" not in POLICY
    assert "unsafe" not in POLICY
    assert "frame-ancestors 'self'" in POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in headers
    assert page.get(PREFIX + "style.css").headers["Content-Type"] == "text/css"


def test_the_question_goes_to_the_service_and_nothing_of_the_readers(page: TestClient, service: str) -> None:
    asked = page.get(PREFIX + "asked", params={"q": "owls & bears", "since": "2017-01-01"}).json()
    assert asked["path"] == "/asked?q=owls+%26+bears&since=2017-01-01"
    assert asked["Authorization"] == f"Bearer {TOKEN}"
    assert asked["DNT"] == "1", "it is not recorded"
    assert asked["Host"] == service.removeprefix("http://")
    assert "secret" not in str(asked)


@pytest.mark.parametrize("path", ["similar/https%3A//example.org/%3Fp%3D1", "similar/50%25"])
def test_the_service_is_asked_for_the_same_address(page: TestClient, path: str) -> None:
    tree = LexborHTMLParser(page.get(PREFIX + path).text)
    assert [one.text() for one in tree.css(".empty p")] == ["/" + path]


@pytest.mark.parametrize("path", ["/evil.example/asked", "//evil.example/", "@evil.example/", "http://evil.example/"])
def test_no_path_leads_to_another_host(page: TestClient, path: str) -> None:
    assert page.get(PREFIX + path).status_code in (200, 404)


def test_a_service_that_is_not_there_is_said(service: str) -> None:
    answer = client("http://127.0.0.1:9").get(PREFIX)
    assert answer.status_code == 503
    assert "make serve" in answer.text
    assert "PODSEARCH_SEARCH_HOST" in answer.text
