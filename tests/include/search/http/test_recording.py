"""What is recorded of searches, of whom, and that search does not depend on it; over real HTTP."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from include.feedback.events import days, read_day
from include.feedback.recorder import Recorder
from include.search.http.app import HEADERS, POLICY
from include.search.http.recording import COOKIE
from include.storage import ArtifactStore
from tests.include.search.http.server import open_service, served

SESSION = "a-session-of-a-program"


class Visit:
    """A listener's browser, and what was recorded of it."""

    def __init__(self, client: httpx.Client, recorder: Recorder, store: ArtifactStore) -> None:
        self.client = client
        self._recorder, self._store = recorder, store

    def recorded(self) -> list[dict[str, Any]]:
        self._recorder.flush()
        return [row for day in days(self._store) for row in read_day(self._store, day).to_pylist()]

    def tell(self, **what: object) -> httpx.Response:
        return self.client.post("/events", json={"action": "played", "seconds": 40, **what})


@contextmanager
def visiting(home: Path, store: ArtifactStore, **options: Any) -> Iterator[Visit]:
    recorder = Recorder(store, 30, every=3_600)
    with (
        served(open_service(home), recorder=recorder, **options) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        yield Visit(client, recorder, store)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "recorded")


@pytest.fixture
def visit(harmful: Path, store: ArtifactStore) -> Iterator[Visit]:
    with visiting(harmful, store) as visit:
        yield visit


def links(page: str) -> list[str]:
    """Where the titles of the results lead."""
    return re.findall(r'class="title" href="([^"]+)"', page)


def search_of(page: str) -> str:
    found = re.search(r"\?search=([\w-]+)", page)
    assert found
    return found[1]


def test_a_search_is_recorded_with_what_was_shown_and_what_was_opened_and_played(visit: Visit) -> None:
    page = visit.client.get("/", params={"q": "rocket  moon", "page": 2})
    assert visit.client.get(links(page.text)[1]).status_code == 200
    search = search_of(page.text)
    episode = links(page.text)[1].removeprefix("/similar/").partition("?")[0]
    assert visit.tell(search_id=search, episode_id=episode).status_code == 204

    searched, opened, played = visit.recorded()
    assert (searched["query"], searched["search"], searched["found"], searched["first"]) == (
        "rocket moon",
        search,
        15,
        11,
    )
    assert searched["shown"] == [link.removeprefix("/similar/").partition("?")[0] for link in links(page.text)]
    assert (opened["kind"], opened["search"], opened["episode"]) == ("opened", search, episode)
    assert (played["kind"], played["episode"], played["seconds"]) == ("played", episode, 40)
    assert searched["session"] == opened["session"] == played["session"]
    assert f'data-search="{search}"' in visit.client.get(links(page.text)[1]).text


def test_who_asks_for_the_head_alone_has_searched_nothing(visit: Visit) -> None:
    assert "Set-Cookie" not in visit.client.head("/", params={"q": "rocket"}).headers
    assert visit.recorded() == []


def test_the_cookie_is_random_says_nothing_and_ends_within_a_day(visit: Visit) -> None:
    first = visit.client.get("/", params={"q": "rocket"}).headers["Set-Cookie"]
    assert re.fullmatch(rf"{COOKIE}=[\w-]{{22}}; HttpOnly; Max-Age=86400; Path=/; SameSite=lax", first)
    assert "Set-Cookie" not in visit.client.get("/", params={"q": "moon"}).headers, "it would never end"
    assert len({row["session"] for row in visit.recorded()}) == 1
    visit.client.cookies.clear()
    safe = visit.client.get("/", params={"q": "rocket"}, headers={"X-Forwarded-Proto": "https"}).headers["Set-Cookie"]
    assert safe != first
    assert "; Secure" in safe


def test_nobody_gets_a_cookie_who_has_not_searched(visit: Visit) -> None:
    for path in ("/", "/similar/e0030", "/search?q=rocket", "/style.css"):
        assert "Set-Cookie" not in visit.client.get(path).headers
    assert visit.recorded() == []


@pytest.mark.parametrize("header", ["DNT", "Sec-GPC"])
def test_who_asks_not_to_be_tracked_is_not(visit: Visit, header: str) -> None:
    page = visit.client.get("/", params={"q": "rocket"}, headers={header: "1"})
    assert "Set-Cookie" not in page.headers
    assert "this server records" not in page.text
    assert visit.recorded() == []


def test_a_query_that_looks_personal_is_answered_and_not_recorded(visit: Visit) -> None:
    page = visit.client.get("/", params={"q": "rocket jane@example.org"})
    assert len(links(page.text)) == 10
    assert "?search=" not in page.text
    assert "Set-Cookie" not in page.headers
    assert visit.recorded() == []


def test_what_a_browser_fetches_ahead_is_not_opened(visit: Visit) -> None:
    page = visit.client.get("/", params={"q": "rocket"})
    visit.client.get(links(page.text)[1], headers={"Sec-Purpose": "prefetch"})
    assert [row["kind"] for row in visit.recorded()] == ["search"]


def test_a_link_that_was_changed_opens_the_page_and_records_nothing(visit: Visit) -> None:
    visit.client.get("/", params={"q": "rocket"})
    page = visit.client.get("/similar/e0030", params={"search": '"><script>'})
    assert page.status_code == 200
    assert "><script>" not in page.text
    assert [row["kind"] for row in visit.recorded()] == ["search"]


def test_the_policy_allows_the_one_script_that_tells_what_was_heard(visit: Visit) -> None:
    page = visit.client.get("/", params={"q": "rocket"})
    policy = page.headers[POLICY]
    assert policy.startswith(HEADERS[POLICY])
    assert re.search(r"script-src 'sha256-[\w+/=]+'; connect-src 'self'$", policy)
    assert "unsafe" not in policy
    assert page.text.count("<script>") == 1
    first = visit.client.get("/").text
    assert "<script>" not in first
    assert all("this server records what people search for" in text for text in (first, page.text)), "before, too"


def test_a_program_names_the_session_and_tells_what_happened(visit: Visit) -> None:
    unnamed = visit.client.get("/search", params={"q": "rocket"}).json()
    assert unnamed["search_id"] is None
    answer = visit.client.get("/search", params={"q": "rocket", "k": 2, "session": SESSION}).json()
    episode = answer["results"][1]["id"]
    told = visit.tell(search_id=answer["search_id"], episode_id=episode, action="opened", session=SESSION)
    assert told.status_code == 204
    searched, opened = visit.recorded()
    assert searched["shown"] == [result["id"] for result in answer["results"]]
    assert (opened["episode"], opened["session"]) == (episode, searched["session"])
    assert SESSION not in str([searched, opened])


@pytest.mark.parametrize(
    "wrong",
    [
        {"search_id": "x"},
        {"episode_id": ""},
        {"episode_id": "e" * 513},
        {"action": "liked"},
        {"seconds": -1},
        {"seconds": 86_401},
        {"session": "jane"},
        {"session": None},
        {"name": "jane"},
        {"search_id": "20000101-" + 22 * "a"},
    ],
)
def test_what_is_told_wrongly_is_refused(visit: Visit, wrong: dict[str, object]) -> None:
    now = datetime.now(UTC)
    right = {"search_id": f"{now:%Y%m%d}-{22 * 'a'}", "episode_id": "e0030", "session": SESSION}
    refused = visit.tell(**{**right, **wrong})
    assert refused.status_code == 422
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert visit.recorded() == []


def test_what_is_told_is_short_and_is_json(visit: Visit) -> None:
    """A form of another page can send neither, whatever its reader's browser adds."""
    search = visit.client.get("/search", params={"q": "rocket", "session": SESSION}).json()["search_id"]
    body = f'{{"search_id": "{search}", "episode_id": "e0030", "action": "opened", "session": "{SESSION}"}}'
    plain = visit.client.post("/events", content=body, headers={"Content-Type": "text/plain"})
    assert plain.status_code == 422
    assert visit.client.post("/events", content=body + 4_096 * " ").status_code == 413
    assert visit.client.post("/events", content=iter([body.encode()])).status_code == 413
    assert [row["kind"] for row in visit.recorded()] == ["search"]


def test_events_need_the_token_too(harmful: Path, store: ArtifactStore) -> None:
    with visiting(harmful, store, token="0123456789abcdef0123") as visit:
        assert visit.tell(search_id="x", episode_id="e0030").status_code == 401


def test_where_nothing_is_recorded_there_is_nothing_of_it(client: httpx.Client) -> None:
    page = client.get("/", params={"q": "rocket"})
    assert "Set-Cookie" not in page.headers
    assert "<script" not in page.text
    assert "this server records" not in page.text
    assert "?search=" not in page.text
    assert client.post("/events", json={}).status_code == 404
    assert client.get("/search", params={"q": "rocket", "session": SESSION}).json()["search_id"] is None


def test_search_answers_when_nothing_can_be_recorded_and_its_log_has_no_query(
    harmful: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "feedback").write_text("a file stands in the way")
    with visiting(harmful, ArtifactStore(tmp_path)) as visit:
        page = visit.client.get("/", params={"q": "rocket moonshine"})
        assert len(links(page.text)) == 10
    assert "cannot be written" in caplog.text
    assert "moonshine" not in "\n".join(record.getMessage() for record in caplog.records if record.name != "httpx")


def test_a_server_that_stops_writes_what_it_has(harmful: Path, store: ArtifactStore) -> None:
    with visiting(harmful, store) as visit:
        visit.client.get("/", params={"q": "rocket"})
        assert days(store) == []
    assert [row["query"] for day in days(store) for row in read_day(store, day).to_pylist()] == ["rocket"]
