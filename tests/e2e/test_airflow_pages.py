"""A person at podsearch's pages in a real Airflow, in Chromium: behind its login, from a run and from a failed task.

On the installation of ``test_pipeline``; skipped where there is no Chromium.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import jwt
import pytest
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page, Response, expect, sync_playwright

from deploy.local.api import AirflowApi, DagRun
from deploy.local.environment import base_url
from tests.e2e.conftest import Installation, run_to_end, sample_episodes, write_dataset
from tests.e2e.state import State
from tests.e2e.test_alerts import wait_for
from tests.include.search.http.test_browser import CHROMIUM, FLAGS

pytestmark = [pytest.mark.airflow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")]

HOSTILE = "<script>document.title = 'broken'</script>"
PAGES = ("live", "reports", "queries", "quality", "search/")
TAB = "a[href$='/plugin/podsearch_run']"
PATIENCE = 60_000
"""Milliseconds: Airflow's pages are slow beside other tests."""


@pytest.fixture(scope="module")
def api(first_run: tuple[str, State], undisturbed: Installation) -> Iterator[AirflowApi]:
    """What knows the runs, once the pipeline ran."""
    undisturbed.bring_up()
    api = AirflowApi(undisturbed.settings)
    api.wait_until_up(lambda: None)
    yield api
    undisturbed.take_down()


@pytest.fixture(scope="module")
def service(api: AirflowApi, undisturbed: Installation) -> Iterator[None]:
    """Search, served as the pages expect it."""
    process = undisturbed.start("include.search.http")
    url = undisturbed.settings.search.reached_at

    def ready() -> bool:
        assert process.poll() is None, process.stdout and process.stdout.read()
        try:
            return httpx.get(f"{url}/readyz", timeout=10, trust_env=False).is_success
        except httpx.TransportError:
            return False

    wait_for(ready, bool)
    yield
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


@pytest.fixture(scope="module")
def failed_run(api: AirflowApi, undisturbed: Installation) -> DagRun:
    """An ingestion that a validation has stopped: no episode is of a show that is there."""
    first, *others = [{**row, "podcast_uuid": "nowhere"} for row in sample_episodes()]
    write_dataset(undisturbed.dataset, [{**first, "uuid": HOSTILE}, *others])
    run = run_to_end(api, undisturbed, "ingest_episodes")
    write_dataset(undisturbed.dataset, sample_episodes())
    assert {task.task_id for task in api.tasks(run) if task.state == "failed"} == {"validate_raw_episodes"}
    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def visit(browser: Browser, installation: Installation) -> BrowserContext:
    context = browser.new_context(base_url=base_url(installation.settings), viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    return context


@pytest.fixture(scope="module")
def reader(browser: Browser, api: AirflowApi, undisturbed: Installation) -> Iterator[BrowserContext]:
    """Somebody who has logged in by the form."""
    with visit(browser, undisturbed) as context:
        page = context.new_page()
        page.goto("/")
        user, password = api.login()
        page.locator("[name=username]").fill(user)
        page.locator("[name=password]").fill(password)
        page.keyboard.press("Enter")
        page.get_by_role("link", name="podsearch").wait_for()
        page.close()
        yield context


@pytest.fixture
def page(reader: BrowserContext) -> Iterator[Page]:
    """A page in which nothing of podsearch is kept from working."""
    page, said = reader.new_page(), list[str]()
    page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    yield page
    assert said == []
    page.close()


def framed(page: Page) -> FrameLocator:
    """What Airflow shows of podsearch."""
    return page.frame_locator("iframe")


def run_page(run: DagRun) -> str:
    return f"/dags/{run.dag_id}/runs/{run.run_id}"


def test_the_navigation_leads_to_all_pages_inside_of_airflow(
    page: Page, service: None, first_run: tuple[str, State]
) -> None:
    live = first_run[1].pointer
    page.goto("/")
    page.get_by_role("link", name="podsearch").click()
    inside = framed(page)
    expect(inside.get_by_role("heading", level=1)).to_have_text("Live search")
    expect(inside.locator("body")).to_contain_text(live.model_version)
    menu = inside.get_by_role("navigation", name="podsearch")
    for name, title in (
        ("Reports", "Reports"),
        ("Queries", "What became of searches"),
        ("Data quality", "Data quality"),
    ):
        menu.get_by_role("link", name=name, exact=True).click()
        expect(inside.get_by_role("heading", level=1)).to_have_text(title)
        expect(menu.get_by_role("link", name=name, exact=True)).to_have_attribute("aria-current", "page")
    menu.get_by_role("link", name="Search", exact=True).click()
    inside.get_by_label("What are you looking for?").fill("bread without a factory")
    page.keyboard.press("Enter")
    expect(inside.locator("a.title").first).to_be_visible()
    expect(page.get_by_role("link", name="podsearch")).to_be_visible()  # Airflow's own is still around it


def test_a_failed_validation_leads_to_its_data_docs(page: Page, failed_run: DagRun) -> None:
    page.goto(f"{run_page(failed_run)}/tasks/validate_raw_episodes")
    page.get_by_role("link", name="Details").click()
    page.get_by_role("link", name="Data Docs").click()
    page.wait_for_url("**/podsearch/quality/**/raw_episodes.html")
    expect(page.locator("body")).to_contain_text("The show of an episode is in podcasts.csv")
    expect(page.locator("body")).to_contain_text(HOSTILE)
    assert page.title() != "broken"
    page.get_by_role("navigation", name="podsearch").get_by_role("link", name="Data quality").click()
    expect(page.get_by_role("row").filter(has_text="ingest_episodes").first).to_contain_text("Failed")


def test_a_run_has_a_tab_with_its_report_or_its_data_docs(
    page: Page, api: AirflowApi, failed_run: DagRun, first_run: tuple[str, State]
) -> None:
    runs = api.runs(datetime.min.replace(tzinfo=UTC))
    reported = [run for run in runs if run.dag_id == "reindex_episodes" and activated(api, run)]
    page.goto(run_page(reported[-1]))
    page.locator(TAB).click()
    expect(framed(page).locator("body")).to_contain_text(first_run[1].pointer.model_version)
    expect(framed(page).locator("body")).to_contain_text("Recall@30")
    page.goto(run_page(failed_run))
    page.locator(TAB).click()
    expect(framed(page).get_by_role("link", name="raw_episodes")).to_be_visible()


def activated(api: AirflowApi, run: DagRun) -> bool:
    return any((task.task_id, task.state) == ("activate", "success") for task in api.tasks(run))


def test_a_stranger_comes_to_the_login_and_reads_nothing(
    browser: Browser, undisturbed: Installation, first_run: tuple[str, State]
) -> None:
    with visit(browser, undisturbed) as context:
        page, answers = context.new_page(), list[Response]()
        page.on("response", lambda answer: answers.append(answer) if "/podsearch/" in answer.url else None)
        page.goto("/plugin/podsearch")
        expect(page.locator("[name=password]")).to_be_visible(timeout=PATIENCE)
        assert [answer.status for answer in answers if answer.status != 401] == []
        for path in PAGES:
            answer = page.goto(f"/podsearch/{path}")
            assert answer
            assert answer.status == 401
            assert first_run[1].pointer.model_version not in page.content()


def test_a_role_that_may_not_is_refused(
    browser: Browser, undisturbed: Installation, first_run: tuple[str, State]
) -> None:
    """Somebody whom Airflow knows, and has given no role."""
    with visit(browser, undisturbed) as context:
        context.add_cookies([{"name": "_token", "value": token(undisturbed), "url": base_url(undisturbed.settings)}])
        page = context.new_page()
        for path in (*PAGES, "runs/reindex_episodes/any"):
            answer = page.goto(f"/podsearch/{path}")
            assert answer
            assert answer.status == 403
            assert "Your role may not read" in page.content()
            assert first_run[1].pointer.model_version not in page.content()


def token(installation: Installation) -> str:
    """What Airflow gives to somebody without a role who logs in."""
    key = json.loads((installation.home / "airflow" / "secrets.json").read_text())["jwt_secret"]
    now = int(time.time())
    claims: dict[str, object] = {"sub": "somebody", "role": None, "teams": [], "iat": now, "nbf": now, "exp": now + 600}
    return jwt.encode(claims | {"aud": "apache-airflow", "jti": "0"}, key, algorithm="HS512")
