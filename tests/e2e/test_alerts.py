"""Alerts from a real Airflow: a mail server and a webhook are told once of what fails, and once that it is over."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from email.message import EmailMessage
from typing import TypeVar

import psutil
import pytest

from deploy.local.api import AirflowApi
from include.alerts.book import Fault, FaultBook
from include.storage import ArtifactStore
from tests.e2e.conftest import TOKEN, Installation, Killer, run_to_end, sample_episodes, start_anew, write_dataset
from tests.standins.smtp import MailStandIn
from tests.standins.webhook import WebhookStandIn

pytestmark = pytest.mark.airflow

HOSTILE = "<script>alert(1)</script> @everyone"
T = TypeVar("T")


@pytest.fixture(scope="module")
def airflow(telling: Installation, mail: MailStandIn, webhook: WebhookStandIn) -> Installation:
    """Airflow with nothing but ingestion running; each run of it misses its deadline of a second."""
    start_anew(telling, going=["ingest_episodes"])
    mail.messages.clear()
    webhook.calls.clear()
    return telling


class KillerOfEveryTry(Killer):
    """Kills a task whenever it is tried, until it is stopped."""

    def _meet(self, process: psutil.Process, task_id: str | None) -> None:
        if task_id in self.left:
            process.kill()


def ingest(airflow: Installation) -> dict[str, str | None]:
    """Run ingestion to its end; the state of each task but the one that goes back, which it was not told to do."""
    api = AirflowApi(airflow.settings)
    api.wait_until_up(lambda: None)
    run = run_to_end(api, airflow, "ingest_episodes")
    states = {task.task_id: task.state for task in api.tasks(run)}
    assert states.pop("go_back") == "skipped"
    return states


def wait_for(look: Callable[[], T], done: Callable[[T], bool], seconds: float = 90) -> T:
    deadline = time.monotonic() + seconds
    while not done(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.3)
    return found


def wait_for_callback(airflow: Installation, dag_id: str, look: Callable[[], T], done: Callable[[T], bool]) -> T:
    """The same, of what a DAG's callback does.

    While one callback of a file is at work, Airflow puts the next aside until it reads the file again, which may take
    minutes: it is asked to.
    """
    api = AirflowApi(airflow.settings)
    api.wait_until_up(lambda: None)
    for _ in range(9):
        with contextlib.suppress(AssertionError):
            return wait_for(look, done, seconds=10)
        api._request("PUT", f"/api/v2/parseDagFile/{api._call('GET', f'/api/v2/dags/{dag_id}')['file_token']}")
    return wait_for(look, done, seconds=10)


def faults(airflow: Installation) -> dict[str, Fault]:
    """What is in the book, by kind."""
    found = FaultBook(ArtifactStore(airflow.settings.installation.artifacts_root)).all()
    return {fault.alert.kind.value: fault for fault in found}


def test_bad_data_is_told_once_and_its_end_once(
    airflow: Installation, mail: MailStandIn, webhook: WebhookStandIn
) -> None:
    webhook.fault = "error"
    write_dataset(airflow.dataset, [{**row, "podcast_uuid": HOSTILE} for row in sample_episodes()])
    for runs in (1, 2):
        states = ingest(airflow)
        assert states["validate_raw_episodes"] == "failed", "a receiver that is down changes nothing"
        both = {"failure": runs, "deadline": runs}
        wait_for_callback(
            airflow,
            "ingest_episodes",
            lambda: {kind: fault.runs for kind, fault in faults(airflow).items()},
            both.__eq__,
        )
        webhook.fault = None
    wait_for(lambda: webhook.calls, lambda calls: len(calls) == 2)
    assert len(mail.messages) == 2, "one for the failure, one for the missed deadline, though there were two runs"
    check_failure(next(call.body for call in webhook.calls if "validate_raw_episodes" in call.body["title"]), mail)

    untitled = [{**row, "title": ""} if number < 9 else row for number, row in enumerate(sample_episodes())]
    write_dataset(airflow.dataset, untitled)
    assert set(ingest(airflow).values()) == {"success"}
    left = wait_for_callback(
        airflow, "ingest_episodes", lambda: faults(airflow), lambda found: not {"failure", "deadline"} & set(found)
    )
    assert len(mail.messages) == 4
    assert "Recovered after 2 runs" in html_of(mail.messages, "recovered: ingest_episodes · validate_raw_episodes")
    assert left["quality"].alert.severity == "warning", "the warning of a run that went on stays open"
    assert len(webhook.calls) == 5, "warnings go to the webhook alone"


def check_failure(call: dict[str, str], mail: MailStandIn) -> None:
    """What a message about a failed validation must hold."""
    assert call["type"] == "failure"
    html = html_of(mail.messages, "validate_raw_episodes")
    for text in (call["message"], html):
        assert "The show of an episode is in podcasts.csv" in text
        assert "observed 150 of 150 values fail" in text.replace("Observed: ", "observed ")
        assert "/tasks/validate_raw_episodes" in text
        assert "data_docs/index.html" in text
        assert "Published snapshot: none yet" in text
        assert "@everyone" not in text
    assert "<script" not in html


def html_of(messages: list[EmailMessage], subject: str) -> str:
    message = next(message for message in messages if subject in message["subject"])
    body = message.get_body(("html",))
    assert body is not None
    return str(body.get_content())


def test_a_task_whose_process_is_killed_is_told_of(
    airflow: Installation, mail: MailStandIn, webhook: WebhookStandIn
) -> None:
    """Airflow calls its callbacks in this case in another process, or only those of its run."""
    write_dataset(airflow.dataset, sample_episodes())
    mail.messages.clear()
    webhook.fault = "stall"
    killer = KillerOfEveryTry(airflow, {"validate_podcasts": 0})
    killer.start()
    assert ingest(airflow)["validate_podcasts"] == "failed"
    killer.stopped.set()
    lost = wait_for_callback(
        airflow,
        "ingest_episodes",
        lambda: faults(airflow).get("failure"),
        lambda fault: fault is not None and bool(fault.told),
    )
    assert lost is not None
    assert lost.alert.task_id == "validate_podcasts"
    assert lost.alert.headline == "The task was lost"

    webhook.fault = None
    assert "failed" not in ingest(airflow).values()
    wait_for_callback(airflow, "ingest_episodes", lambda: faults(airflow), lambda found: "failure" not in found)
    assert "recovered: ingest_episodes · validate_podcasts" in "".join(message["subject"] for message in mail.messages)


def test_no_log_holds_a_secret(airflow: Installation, webhook: WebhookStandIn) -> None:
    assert TOKEN in webhook.calls[0].path, "the token was used"
    logs = [file for file in (airflow.home / "airflow" / "logs").rglob("*.log") if file.is_file()]
    assert len(logs) > 10
    assert [file for file in logs if TOKEN in file.read_text(errors="replace")] == []
    artifacts = [file for file in (airflow.home / "artifacts" / "alerts").rglob("*") if file.is_file()]
    assert [file for file in artifacts if TOKEN in file.read_text(errors="replace")] == []
