from __future__ import annotations

import logging
import multiprocessing
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.alerts.alert import FaultKind, Severity
from include.alerts.announce import Announcer
from include.alerts.book import Fault, FaultBook
from include.alerts.channels import AppriseChannel
from include.storage import ArtifactStore
from tests.include.alerts.faults import KeepingChannel, alert
from tests.standins.webhook import WebhookStandIn

NOW = datetime(2026, 3, 20, tzinfo=UTC)


class Clock:
    """A clock that is set by hand."""

    present = NOW

    @classmethod
    def now(cls, zone: object) -> datetime:
        return cls.present


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    monkeypatch.setattr("include.alerts.announce.datetime", Clock)
    Clock.present = NOW
    return Clock


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def announcer(store: ArtifactStore, *channels: KeepingChannel) -> Announcer:
    """What tells people, new for each occasion as it is in Airflow."""
    return Announcer(FaultBook(store), lambda severity: channels, remind_after=timedelta(days=7))


def met(store: ArtifactStore, *channels: KeepingChannel, run: int = 1, **values: Any) -> None:
    announcer(store, *channels).report(alert(run, **({"occurred_at": Clock.present} | values)))


def over(store: ArtifactStore, *channels: KeepingChannel) -> None:
    announcer(store, *channels).resolve(lambda fault: True, Clock.present)


def only_fault(store: ArtifactStore) -> Fault:
    (fault,) = FaultBook(store).all()
    return fault


def test_a_fault_is_told_once_however_many_runs_meet_it(store: ArtifactStore, clock: type[Clock]) -> None:
    mail = KeepingChannel()
    for run in range(1, 6):
        clock.present = NOW + timedelta(days=run)
        met(store, mail, run=run)
    assert mail.events == ["alert"]
    assert only_fault(store).runs == 5


def test_bytes_of_a_file_name_that_are_no_utf_8_keep_no_fault_from_the_book(
    store: ArtifactStore, clock: type[Clock]
) -> None:
    mail = KeepingChannel()
    name = os.fsdecode(b"/data/caf\xe9.csv")
    for _ in range(2):
        met(store, mail, headline=f"{name} cannot be read", cause=name, detail=name)
    assert mail.events == ["alert"]
    assert only_fault(store).alert.headline == "/data/caf?.csv cannot be read"


def test_its_end_is_told_once_and_it_leaves_the_book(store: ArtifactStore, clock: type[Clock]) -> None:
    mail = KeepingChannel()
    for run in (1, 2, 3):
        clock.present = NOW + timedelta(days=run - 1)
        met(store, mail, run=run)
    over(store, mail)
    over(store, mail)
    assert mail.events == ["alert", "recovery"]
    assert "Recovered after 3 runs, 2 days." in mail.messages[-1].text
    assert FaultBook(store).all() == []


def test_a_fault_that_comes_again_is_told_again(store: ArtifactStore, clock: type[Clock]) -> None:
    mail = KeepingChannel()
    met(store, mail, run=1)
    over(store, mail)
    met(store, mail, run=3)
    assert mail.events == ["alert", "recovery", "alert"]


def test_another_cause_in_the_same_place_is_told(store: ArtifactStore, clock: type[Clock]) -> None:
    mail = KeepingChannel()
    met(store, mail, run=1)
    met(store, mail, run=2, cause="dates")
    assert mail.events == ["alert", "alert"]


def test_a_fault_that_lasts_is_told_again_after_a_while(store: ArtifactStore, clock: type[Clock]) -> None:
    mail = KeepingChannel()
    for day in range(16):
        clock.present = NOW + timedelta(days=day)
        met(store, mail, run=day)
    assert mail.events == ["alert", "reminder", "reminder"], "on days 0, 7 and 14"
    assert "in 15 runs so far" in mail.messages[-1].text


def test_nobody_is_reminded_of_what_was_not_met_since(store: ArtifactStore, clock: type[Clock]) -> None:
    mail = KeepingChannel()
    met(store, mail)
    clock.present = NOW + timedelta(days=30)
    announcer(store, mail).catch_up()
    assert mail.events == ["alert"]


def test_what_could_not_be_sent_is_sent_on_the_next_occasion(store: ArtifactStore, clock: type[Clock]) -> None:
    mail, chat = KeepingChannel("mail"), KeepingChannel("chat")
    chat.down = True
    met(store, mail, chat, run=1)
    assert (mail.events, chat.events) == (["alert"], [])
    announcer(store, mail, chat).catch_up()
    assert (chat.attempts, chat.events) == (2, [])
    chat.down = False
    met(store, mail, chat, run=9, task_id="another")
    assert chat.events == ["alert", "alert"], "another fault is an occasion too"
    assert mail.events == ["alert", "alert"]


def test_an_end_that_could_not_be_told_is_told_later(store: ArtifactStore, clock: type[Clock]) -> None:
    mail, chat = KeepingChannel("mail"), KeepingChannel("chat")
    met(store, mail, chat)
    chat.down = True
    over(store, mail, chat)
    assert only_fault(store).over_at is not None
    chat.down = False
    announcer(store, mail, chat).catch_up()
    assert (mail.events, chat.events) == (["alert", "recovery"], ["alert", "recovery"])
    assert FaultBook(store).all() == []


def test_who_never_knew_of_a_fault_is_not_told_of_its_end(store: ArtifactStore, clock: type[Clock]) -> None:
    chat = KeepingChannel("chat")
    chat.down = True
    met(store, chat)
    chat.down = False
    over(store, chat)
    assert chat.events == []
    assert FaultBook(store).all() == []


def test_a_channel_that_hangs_is_waited_for_once(store: ArtifactStore, clock: type[Clock]) -> None:
    chat = KeepingChannel("chat")
    chat.down = True
    for number in range(5):
        met(store, chat, task_id=f"task {number}")
    before = chat.attempts
    met(store, chat, task_id="one more")
    assert chat.attempts == before + 1


def test_a_run_that_ended_before_the_fault_says_nothing_about_it(store: ArtifactStore, clock: type[Clock]) -> None:
    mail = KeepingChannel()
    met(store, mail)
    announcer(store, mail).resolve(lambda fault: True, NOW - timedelta(seconds=1))
    assert mail.events == ["alert"]


def test_only_what_has_ended_is_over(store: ArtifactStore, clock: type[Clock]) -> None:
    mail = KeepingChannel()
    met(store, mail)
    met(store, mail, kind=FaultKind.QUALITY)
    announcer(store, mail).resolve(lambda fault: fault.alert.kind is FaultKind.QUALITY, NOW)
    assert only_fault(store).alert.kind is FaultKind.FAILURE


def test_severity_decides_who_is_told(store: ArtifactStore, clock: type[Clock]) -> None:
    channels = {Severity.CRITICAL: KeepingChannel("pager"), Severity.WARNING: KeepingChannel("mail")}
    teller = Announcer(FaultBook(store), lambda severity: [channels[severity]], remind_after=timedelta(days=7))
    teller.report(alert())
    teller.report(alert(kind=FaultKind.QUALITY, severity=Severity.WARNING))
    assert [message.severity for message in channels[Severity.CRITICAL].messages] == [Severity.CRITICAL]
    assert [message.severity for message in channels[Severity.WARNING].messages] == [Severity.WARNING]


def test_where_nobody_is_named_the_log_says_how_to_name_somebody(
    store: ArtifactStore, clock: type[Clock], caplog: pytest.LogCaptureFixture
) -> None:
    met(store, run=1)
    met(store, run=2)
    assert caplog.text.count("PODSEARCH_ALERTS_CRITICAL") == 1
    assert "1 critical expectation was missed" in caplog.text
    mail = KeepingChannel()
    announcer(store, mail).catch_up()
    assert mail.events == ["alert"], "who is named later learns of what is still open"


def test_a_store_that_is_out_of_reach_keeps_no_alert_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    mail = KeepingChannel()
    met(ArtifactStore(tmp_path / "file"), mail)
    assert mail.events == ["alert"]
    assert "The artifact store cannot be used" in caplog.text
    over(ArtifactStore(tmp_path / "file"), mail)
    assert mail.events == ["alert"]


def test_a_channel_that_breaks_breaks_nothing_and_tells_no_secret(
    store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(KeepingChannel):
        def send(self, message: object) -> None:
            raise RuntimeError("https://user:secret@example.org")

    mail = KeepingChannel("mail")
    met(store, Broken("chat"), mail)
    assert mail.events == ["alert"]
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def fail(folder: Path, url: str, shard: int) -> None:
    logging.disable()
    store = ArtifactStore(folder)
    channel = AppriseChannel(url, connection="webhook")
    Announcer(FaultBook(store), lambda severity: [channel], remind_after=timedelta(days=7)).report(alert())


def test_tasks_that_fail_in_the_same_moment_send_one_message(tmp_path: Path) -> None:
    with WebhookStandIn().serve() as webhook:
        # Not forked from this process: once it has sent something, Apprise has threads here that a fork lacks.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        tasks = [context.Process(target=fail, args=(tmp_path, webhook.url(), shard)) for shard in range(8)]
        for task in tasks:
            task.start()
        for task in tasks:
            task.join(30)
        assert len(webhook.calls) == 1
    assert only_fault(ArtifactStore(tmp_path)).runs == 1
