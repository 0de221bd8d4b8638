"""Starting and stopping it, as `make serve` does."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from include.feedback.events import days, read_day
from include.search.http.__main__ import main
from include.search.http.access import is_loopback, read_token, require_safe
from include.settings import PROJECT, SettingsError
from include.storage import ArtifactStore

TOKEN = "0123456789abcdef0123"


def start(home: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PODSEARCH_")}
    return subprocess.Popen(
        [sys.executable, "-m", "include.search.http", *arguments],
        cwd=PROJECT,
        env=environment | {"PODSEARCH_HOME": str(home)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_beyond_this_machine_it_needs_a_token(host: str) -> None:
    with pytest.raises(SettingsError, match="PODSEARCH_SEARCH_TOKEN_FILE"):
        require_safe(host, None)
    require_safe(host, TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_this_machine_it_needs_none(host: str) -> None:
    assert is_loopback(host)
    require_safe(host, None)


@pytest.mark.parametrize("held", ["", "short", "two words of some length", "ä" * 20, "0123456789abcdef\x00"])
def test_a_token_that_keeps_nobody_out_is_refused(tmp_path: Path, held: str) -> None:
    file = tmp_path / "token"
    file.write_text(held, encoding="utf-8")
    with pytest.raises(SettingsError, match="PODSEARCH_SEARCH_TOKEN_FILE"):
        read_token(file)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_token(tmp_path / "missing")


def test_a_token_may_end_in_a_line_break(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    assert read_token(tmp_path / "token") == TOKEN
    assert read_token(None) is None


def test_it_does_not_start_where_others_could_search(tmp_path: Path) -> None:
    process = start(tmp_path / "home", "--host", "0.0.0.0")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith("On 0.0.0.0 other machines could search, too")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("given", [("--port", "65536"), ("--port", "0"), ("--workers", "0"), ("--workers", "two")])
def test_what_is_no_port_is_refused(given: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """The operating system took port 65536 for 0, any that is free."""
    with pytest.raises(SystemExit) as ended:
        main(list(given))
    assert ended.value.code == 2
    assert f"{given[1]!r} is not a number from 1 to" in capsys.readouterr().err


def test_it_starts_answers_and_stops(home: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    port = free_port()
    process = start(home, "--host", "0.0.0.0", "--port", str(port), PODSEARCH_SEARCH_TOKEN_FILE=str(tmp_path / "token"))
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        asked = httpx.get(f"http://127.0.0.1:{port}/search?q=rocket", headers={"Authorization": f"Bearer {TOKEN}"})
        assert asked.json()["found"] == 15
        assert httpx.get(f"http://127.0.0.1:{port}/search?q=rocket").status_code == 401
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in said
    assert "rocket" not in said
    assert TOKEN not in said


def test_workers_that_are_stopped_have_written_what_each_of_them_recorded(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "home")
    port = free_port()
    process = start(tmp_path / "home", "--port", str(port), "--workers", "2", PODSEARCH_RECORD_SEARCHES_DAYS="7")
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        for number in range(40):  # each over a connection of its own, which either of them takes
            assert httpx.get(f"http://127.0.0.1:{port}/?q=rocket+{number}", timeout=30).status_code == 200
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in said
    store = ArtifactStore(tmp_path / "home" / "artifacts")
    queries = [query for day in days(store) for query in read_day(store, day)["query"].to_pylist()]
    assert sorted(queries) == sorted(f"rocket {number}" for number in range(40))


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{url} is not there.")
