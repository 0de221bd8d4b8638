"""A person at the page, in Chromium: what they type, see, follow and play; skipped where there is no Chromium."""

from __future__ import annotations

import io
import re
import shutil
import wave
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, Error, Locator, Page, Route, expect, sync_playwright

from include.feedback.events import days, read_day
from include.feedback.recorder import Recorder
from include.storage import ArtifactStore
from tests.include.search.http.server import open_service, served

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
TOKEN = "0123456789abcdef0123"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """A page, and what it did beside being looked at."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.said: list[str] = []
        self.elsewhere: list[str] = []
        self.page = context.new_page()
        self.page.on("console", lambda message: self._hear(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        # Nothing answers there: what is asked for is noted, and that is all.
        context.route(re.compile(rf"^(?!{re.escape(address)})"), self._note)

    def _hear(self, text: str) -> None:
        # Chromium says so when somebody types before the page has put the cursor where they type anyway.
        if not text.startswith("Autofocus processing was blocked"):
            self.said.append(text)

    def _note(self, route: Route) -> None:
        self.elsewhere.append(route.request.url)
        route.abort()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """A visit in the course of which nothing breaks."""
    with browser.new_context(base_url=address, viewport={"width": 1280, "height": 900}) as context:
        visit = Visit(context, address)
        yield visit
        assert visit.said == []
        assert visit.page.title() != "broken"


def test_somebody_searches_narrows_and_follows(visit: Visit) -> None:
    page = visit.page
    page.goto("/")
    expect(page.get_by_label("What are you looking for?")).to_be_focused()
    page.keyboard.type("a rocket to the moon")
    page.keyboard.press("Enter")
    box = page.get_by_label("What are you looking for?")
    expect(box).to_have_value("a rocket to the moon")
    expect(box).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Results 1 to 10 of 15"))
    expect(page.locator("mark").first).to_be_visible()
    page.get_by_role("complementary").get_by_role("link", name="German").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Results 1 to 5 of 5"))
    expect(box).to_have_value("a rocket to the moon")
    page.get_by_role("list", name="Filters").get_by_role("link", name="German").click()
    page.get_by_role("link", name="Page 2").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Results 11 to 15 of 15"))
    title = page.locator("a.title").first.inner_text()
    page.get_by_role("link", name="Similar episodes").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    expect(page.get_by_role("heading", name="Similar episodes")).to_be_visible()
    page.go_back()
    expect(box).to_have_value("a rocket to the moon")
    assert visit.elsewhere == []


def test_a_new_query_keeps_the_filters(visit: Visit) -> None:
    page = visit.page
    page.goto("/?q=rocket&language=German")
    box = page.get_by_label("What are you looking for?")
    box.fill("bank loan")
    box.press("Enter")
    expect(page.get_by_role("list", name="Filters")).to_contain_text("German")
    page.get_by_label("from").fill("2017-12-02")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("No episodes found"))
    expect(box).to_have_value("bank loan")
    expect(page.get_by_role("list", name="Filters")).to_contain_text("since 2017-12-02")


def test_no_other_host_is_asked_until_somebody_plays(visit: Visit) -> None:
    page = visit.page
    page.goto("/?q=rocket&show=space&language=German")
    page.get_by_text("Listen").click()
    player = page.locator("audio")
    expect(player).to_be_visible()
    page.wait_for_timeout(300)
    assert visit.elsewhere == []
    with page.expect_request("https://cdn.example/**") as asked:
        player.evaluate("player => { player.play().catch(() => {}) }")
    assert asked.value.url == "https://cdn.example/rocket.mp3"
    assert "referer" not in asked.value.headers
    page.wait_for_timeout(100)
    assert visit.said == ["Failed to load resource: net::ERR_FAILED"]
    visit.said.clear()


@pytest.mark.parametrize(
    "path", ["/", "/?q=tomato&explain=true&language=German", "/similar/e0020", "/?q=%3F", "/nowhere"]
)
def test_a_telephone_shows_all_of_its_width(visit: Visit, path: str) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    visit.page.goto(path)
    visit.said = [line for line in visit.said if "404" not in line]  # of the page that is not there
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    buttons = [box for one in visit.page.locator("button, #q").all() if (box := one.bounding_box())]
    assert min(box["height"] for box in buttons) >= 40, "a thumb misses it"


def test_a_telephone_has_a_way_to_the_filters_that_are_below(visit: Visit) -> None:
    page = visit.page
    page.goto("/?q=rocket")
    expect(page.get_by_role("link", name="Filter", exact=True)).to_be_hidden()
    page.set_viewport_size({"width": 390, "height": 844})
    filters = page.get_by_role("complementary", name="Narrow the results")
    expect(filters).not_to_be_in_viewport()
    page.get_by_role("link", name="Filter", exact=True).click()
    expect(filters).to_be_in_viewport()


def test_the_keyboard_alone_will_do(visit: Visit) -> None:
    page = visit.page
    page.goto("/similar/e0030")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the results")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the results")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_a_browser_asks_for_the_token(browser: Browser, harmful: Path) -> None:
    with served(open_service(harmful), token=TOKEN) as address:
        # One without a window has nobody to ask.
        with (
            browser.new_context(base_url=address) as context,
            pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"),
        ):
            context.new_page().goto("/")
        with browser.new_context(
            base_url=address, http_credentials={"username": "anybody", "password": TOKEN}
        ) as context:
            page: Page = context.new_page()
            page.goto("/?q=rocket")
            expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Results 1 to 10"))
            assert page.evaluate("getComputedStyle(document.body).maxWidth") != "none"  # the style came, too


def test_what_somebody_hears_is_recorded_by_the_one_script_that_may_run(
    browser: Browser, harmful: Path, tmp_path: Path
) -> None:
    """Behind the token, too; what was jumped over was not heard."""
    store = ArtifactStore(tmp_path)
    recorder = Recorder(store, 30, every=3_600)
    with (
        served(open_service(harmful), token=TOKEN, recorder=recorder) as address,
        browser.new_context(base_url=address, http_credentials={"username": "anybody", "password": TOKEN}) as context,
    ):
        visit = Visit(context, address)
        context.route("https://cdn.example/**", send_silence)
        page = visit.page
        page.goto("/?q=rocket&show=space&language=German")
        page.get_by_text("Listen").click()
        player = page.locator("audio")
        player.evaluate("player => player.play()")
        wait_until_at(player, 1.5)
        player.evaluate("player => { player.currentTime = 20 }")
        wait_until_at(player, 20.5)
        page.locator("a.title").first.click()
        page.wait_for_url("**/similar/e0030?search=*")
        rows: list[dict[str, Any]] = []
        for _ in range(200):  # what is told in leaving arrives when it does
            recorder.flush()
            rows = [row for day in days(store) for row in read_day(store, day).to_pylist()]
            if any(row["kind"] == "played" for row in rows):
                break
            page.wait_for_timeout(50)
        assert visit.said == []
        assert sorted(row["kind"] for row in rows) == ["opened", "played", "search"]
        (played,) = (row for row in rows if row["kind"] == "played")
        assert played["episode"] == "e0030"
        assert 1 <= played["seconds"] <= 10


def wait_until_at(player: Locator, seconds: float) -> None:
    """Wait until it plays what lies so far behind the beginning."""
    for _ in range(200):
        if player.evaluate("player => player.currentTime") >= seconds:
            return
        player.page.wait_for_timeout(50)
    raise AssertionError("it does not play")


def send_silence(route: Route) -> None:
    """Half a minute of it, or the part that is asked for, so that it can be jumped in."""
    sound = silence(30)
    begin = int((re.match(r"bytes=(\d+)-", route.request.headers.get("range", "")) or ["", "0"])[1])
    headers = {"Accept-Ranges": "bytes", "Content-Range": f"bytes {begin}-{len(sound) - 1}/{len(sound)}"}
    route.fulfill(status=206, body=sound[begin:], headers=headers, content_type="audio/wav")


def silence(seconds: int) -> bytes:
    """So much of it, as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8_000)
        sound.writeframes(bytes([128]) * 8_000 * seconds)
    return file.getvalue()


@pytest.mark.parametrize(
    "path", ["/", "/?q=rocket&explain=true&language=German", "/?q=slep", "/similar/e0030", "/?q=%3F", "/nowhere"]
)
def test_axe_finds_nothing_that_keeps_somebody_out(browser: Browser, address: str, path: str) -> None:
    # Its script is put into the page, which no script may run in.
    with browser.new_context(base_url=address, bypass_csp=True) as context:
        page = context.new_page()
        page.goto(path)
        for scheme, width in product(SCHEMES, (1280, 390)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            found = Axe().run(page)
            assert found.violations_count == 0, f"{scheme}, {width} wide: {found.generate_report()}"
