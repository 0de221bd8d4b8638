"""What holds whoever asks: a token, headers, capacity, the live pointer, and nothing of the inside in an answer."""

from __future__ import annotations

import base64
import logging
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import httpx
import pytest

from include.errors import RetryLaterError
from include.index.contract import Filter, Hit
from include.index.lancedb import LanceIndex
from include.index.live import require_live
from include.search.http.app import HEADERS
from include.storage import ArtifactStore
from tests.include.index.workshop import write_live
from tests.include.search.http.conftest import change
from tests.include.search.http.server import open_service, served

TOKEN = "0123456789abcdef0123"


class Gate(LanceIndex):
    """An index whose searches by words wait until they are let through, or fail."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.opened = threading.Event()
        self.arrived = threading.Semaphore(0)
        self.failure: Exception | None = None
        self.seconds = 0.0

    def search_words(
        self, namespace: str, queries: Sequence[str], k: int, filter: Filter | None = None
    ) -> list[list[Hit]]:
        self.arrived.release()
        assert self.opened.wait(30)
        time.sleep(self.seconds)
        if self.failure:
            raise self.failure
        return super().search_words(namespace, queries, k, filter)


@pytest.fixture
def gate(home: Path) -> Iterator[Gate]:
    gate = Gate(str(home / "artifacts" / "index"))
    yield gate
    gate.opened.set()


def ask(address: str, path: str = "/search?q=rocket&mode=lexical", **options: object) -> httpx.Response:
    return httpx.get(address + path, timeout=30, **options)  # type: ignore[arg-type]


def test_every_answer_forbids_what_a_page_does_not_need(client: httpx.Client) -> None:
    for path in (
        "/",
        "/?q=rocket",
        "/similar/e0030",
        "/similar/nobody",
        "/nowhere",
        "/search",
        "/style.css",
        "/healthz",
    ):
        headers = client.get(path).headers
        assert {name: headers[name] for name in HEADERS} == HEADERS, path
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script" not in policy


def test_before_anything_is_live_it_says_so_and_then_answers(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    pointer = tmp_path / "artifacts" / "live.json"
    pointer.rename(tmp_path / "live.json")
    with served(open_service(tmp_path)) as address:
        assert ask(address, "/healthz").json() == {"status": "ok"}
        for path in ("/readyz", "/search?q=rocket", "/episodes/e0030"):
            answer = ask(address, path)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert "There is no live index yet" in answer.json()["detail"]
        page = ask(address, "/?q=rocket")
        assert page.status_code == 503
        assert "There is no live index yet" in page.text
        (tmp_path / "live.json").rename(pointer)
        assert ask(address, "/readyz").json() == {"status": "ready"}
        assert ask(address, "/search?q=rocket").status_code == 200


def test_the_pointer_flips_while_the_service_is_open(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    store = ArtifactStore(tmp_path / "artifacts")
    live = require_live(store)
    for folder, name, other in (
        ("snapshots", live.snapshot_id, "s2"),
        ("index", f"{live.namespace}.lance", "n2.lance"),
    ):
        shutil.copytree(tmp_path / "artifacts" / folder / name, tmp_path / "artifacts" / folder / other)
    change(tmp_path, "n2", {"e0030": {"title": "Another title"}})
    with served(open_service(tmp_path)) as address:
        before = ask(address, "/search?q=rocket&k=15").json()
        write_live(store, live.model_copy(update={"namespace": "n2", "snapshot_id": "s2"}))
        after = ask(address, "/search?q=rocket&k=15").json()
        assert "Another title" in ask(address, "/?q=rocket").text
    assert (before["live"]["namespace"], after["live"]["namespace"]) == (live.namespace, "n2")
    assert after["live"]["snapshot"] == "s2"
    assert "Another title" in {one["title"] for one in after["results"]} - {one["title"] for one in before["results"]}


def test_beyond_its_capacity_it_turns_away_at_once(home: Path, gate: Gate) -> None:
    """One is at work; of five that come then, two wait, and three are told at once to come again."""
    with (
        served(open_service(home, lambda live: gate), at_work=1, waiting=2, patience=30, seconds=60) as address,
        ThreadPoolExecutor(6) as pool,
    ):
        assert ask(address, "/readyz").status_code == 200
        first = pool.submit(ask, address)
        assert gate.arrived.acquire(timeout=30)
        others = [pool.submit(ask, address) for _ in range(5)]
        turned_away = [one.result() for one in islice(as_completed(others, timeout=30), 3)]
        assert [one.status_code for one in turned_away] == [503, 503, 503]
        assert all(int(one.headers["Retry-After"]) > 0 for one in turned_away)
        assert all(one.json()["detail"].startswith("Too many searches") for one in turned_away)
        assert ask(address, "/?q=rocket").status_code == 503
        assert ask(address, "/healthz").status_code == ask(address, "/readyz").status_code == 200
        assert sum(one.done() for one in others) == 3
        gate.opened.set()
        assert first.result(30).status_code == 200
        assert sorted(one.result(30).status_code for one in others) == [200, 200, 503, 503, 503]
        assert ask(address).status_code == 200


def test_what_waits_too_long_for_its_turn_is_turned_away(home: Path, gate: Gate) -> None:
    """Whatever is answered under load is answered soon; what is at work goes on."""
    with (
        served(open_service(home, lambda live: gate), at_work=1, patience=0.2) as address,
        ThreadPoolExecutor(1) as pool,
    ):
        while ask(address, "/readyz").status_code != 200:
            pass
        first = pool.submit(ask, address)
        assert gate.arrived.acquire(timeout=30)
        second = ask(address, "/search?q=tomato&mode=lexical")
        assert second.status_code == 503
        assert second.json()["detail"].startswith("Too many searches")
        assert 'podsearch_searches_turned_away_total{reason="busy"} 1.0' in ask(address, "/metrics").text
        gate.opened.set()
        assert first.result(30).status_code == 200


def test_what_could_only_be_answered_late_is_turned_away_before_that(home: Path, gate: Gate) -> None:
    """By how long others took: patience alone would let it wait."""
    gate.opened.set()
    with (
        served(open_service(home, lambda live: gate), at_work=1, patience=2) as address,
        ThreadPoolExecutor(1) as pool,
    ):
        gate.seconds = 1.5
        for word in ("rocket", "moon", "soil"):
            assert ask(address, f"/search?q={word}&mode=lexical").status_code == 200
        while gate.arrived.acquire(blocking=False):
            pass
        first = pool.submit(ask, address)
        assert gate.arrived.acquire(timeout=30)
        began = time.monotonic()
        second = ask(address, "/search?q=tomato&mode=lexical")
        assert (second.status_code, second.headers["Retry-After"]) == (503, "1")
        assert time.monotonic() - began < 1.4, "it could have begun only then"
        assert first.result(30).status_code == 200


def test_what_takes_too_long_is_given_up(home: Path, gate: Gate) -> None:
    with served(open_service(home, lambda live: gate), seconds=0.5) as address:
        while ask(address, "/readyz").status_code != 200:
            pass
        answer = ask(address)
        assert (answer.status_code, answer.json()["detail"][:30]) == (503, "There was no answer within 0.5")
        gate.opened.set()


def test_what_is_at_work_is_answered_before_it_stops(home: Path, gate: Gate) -> None:
    with ThreadPoolExecutor(1) as pool:
        with served(open_service(home, lambda live: gate)) as address:
            while ask(address, "/readyz").status_code != 200:
                pass
            asked = pool.submit(ask, address)
            assert gate.arrived.acquire(timeout=30)
            threading.Timer(0.5, gate.opened.set).start()
        assert asked.result(30).status_code == 200
        with pytest.raises(httpx.ConnectError):
            ask(address)


@pytest.mark.parametrize(
    ("failure", "status"),
    [(RuntimeError("secret path /srv/x"), 500), (RetryLaterError("secret path /srv/x"), 503)],
)
def test_a_failure_tells_nothing_of_the_inside(home: Path, gate: Gate, failure: Exception, status: int) -> None:
    gate.failure = failure
    gate.opened.set()
    with served(open_service(home, lambda live: gate)) as address:
        for path in ("/search?q=rocket", "/?q=rocket"):
            answer = ask(address, path)
            assert answer.status_code == status
            assert "secret" not in answer.text
            assert "Traceback" not in answer.text
            assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
        gate.failure = None
        assert ask(address).status_code == 200


def test_without_a_token_no_other_name_leads_here(address: str, home: Path) -> None:
    """A page of another host could have its name lead to this machine, and read what is searched."""
    for host in (
        "evil.example",
        "evil.example:8090",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "0.0.0.0",
        "",
    ):
        assert ask(address, headers={"Host": host}).status_code == 421, host
        assert ask(address, "/", headers={"Host": host}).status_code == 421, host
    for host in ("localhost", "LOCALHOST:8090", "127.0.0.1:1", "[::1]", "[::1]:8090"):
        assert ask(address, headers={"Host": host}).status_code == 200, host
    with with_token(home) as guarded:
        named = {"Host": "podcasts.example", "Authorization": f"Bearer {TOKEN}"}
        assert ask(guarded, headers=named).status_code == 200


@contextmanager
def with_token(home: Path) -> Iterator[str]:
    with served(open_service(home), token=TOKEN) as address:
        yield address


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


def test_a_token_keeps_out_whoever_has_not_got_it(home: Path) -> None:
    with with_token(home) as address:
        for given in (
            None,
            "",
            "Bearer",
            "Bearer wrong",
            f"Bearer {TOKEN}x",
            basic("wrong"),
            "Basic !",
            f"Token {TOKEN}",
        ):
            for path in ("/search?q=rocket", "/", "/similar/e0030", "/episodes/e0030", "/openapi.json", "/nowhere"):
                refused = ask(address, path, headers={"Authorization": given} if given is not None else {})
                assert refused.status_code == 401, (given, path)
                assert refused.headers.get_list("WWW-Authenticate")[0].startswith("Basic realm=")
                assert TOKEN not in refused.text
        for given in (f"Bearer {TOKEN}", f"bearer  {TOKEN}", basic(TOKEN)):
            assert ask(address, headers={"Authorization": given}).status_code == 200
            assert ask(address, "/", headers={"Authorization": given}).status_code == 200
        for path in ("/healthz", "/readyz", "/style.css", "/icon.svg"):
            assert ask(address, path).status_code == 200


def test_the_log_says_how_a_request_ended_and_not_what_was_looked_for(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "include.search.http"), with_token(home) as address:
        ask(address, "/search?q=embarrassing", headers={"Authorization": f"Bearer {TOKEN}"})
        ask(address, "/%0aforged", headers={"Authorization": f"Bearer {TOKEN}"})
    lines = [record.getMessage() for record in caplog.records if record.name == "include.search.http.app"]
    assert lines[0].startswith("GET /search 200 ")
    assert lines[1].startswith(r"GET /\nforged 404 ")
    assert "embarrassing" not in caplog.text
    assert TOKEN not in caplog.text
