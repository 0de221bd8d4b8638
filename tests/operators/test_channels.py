from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from include.alerts.alert import Severity
from include.alerts.book import Fault
from include.alerts.channels import Channel, DeliveryError
from include.alerts.message import Event, Message, compose
from operators import channels
from operators.channels import Channels
from tests.include.alerts.faults import START, alert
from tests.standins.smtp import MailStandIn
from tests.standins.webhook import WebhookStandIn

SECRET = "S3cretT0ken"
TO = ("one@example.org", "two@example.org")


@pytest.fixture
def mail() -> Iterator[MailStandIn]:
    with MailStandIn().serve() as standin:
        yield standin


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set a connection by its id."""

    def set_connection(connection_id: str, **values: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{connection_id.upper()}", json.dumps(values))

    return set_connection


def message(event: Event = Event.ALERT, **values: Any) -> Message:
    return compose(Fault(alert=alert(**values), first_at=START, over_at=START), event)


def opened(*connections: str, recipients: tuple[str, ...] = TO) -> list[Channel]:
    return Channels({"critical": connections, "warning": ()}, recipients=recipients).of(Severity.CRITICAL)


def test_everybody_gets_one_mail_that_can_be_read(mail: MailStandIn, connect: Any) -> None:
    connect("office", **mail.connection)
    (channel,) = opened("office")
    channel.send(message(headline="Zwölf Prüfungen schlugen fehl 🎙"))
    (received,) = mail.messages
    assert mail.recipients == [list(TO)]
    assert received["subject"].endswith("Zwölf Prüfungen schlugen fehl 🎙")
    assert received["from"] == "podsearch@example.org"
    body = received.get_body(("html",))
    assert body is not None
    assert "Ids are unique" in body.get_content()


def test_all_mail_about_a_fault_is_one_conversation(mail: MailStandIn, connect: Any) -> None:
    connect("office", **mail.connection)
    (channel,) = opened("office")
    for event in Event:
        channel.send(message(event))
    assert len({received["references"] for received in mail.messages}) == 1
    assert {received["auto-submitted"] for received in mail.messages} == {"auto-generated"}


def test_a_line_break_in_a_subject_makes_no_header(mail: MailStandIn, connect: Any) -> None:
    connect("office", **mail.connection)
    (channel,) = opened("office")
    channel.send(message(headline="x\r\nBcc: spy@example.org"))
    assert mail.recipients == [list(TO)]
    assert mail.messages[0]["bcc"] is None


@pytest.mark.parametrize("fault", ["refuse", "stall"])
def test_a_server_that_does_not_take_the_mail_is_an_error_in_time(
    mail: MailStandIn, connect: Any, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "SMTP_SECONDS", 1)
    connect("office", **mail.connection)
    (channel,) = opened("office")
    mail.fault = fault
    started = time.monotonic()
    with pytest.raises(DeliveryError):
        channel.send(message())
    assert time.monotonic() - started < 9


def test_a_server_that_is_not_there_is_an_error(connect: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    extra = {"from_email": "a@example.org", "disable_ssl": True}
    connect("office", conn_type="smtp", host="127.0.0.1", port=port, login="me", password=SECRET, extra=extra)
    (channel,) = opened("office")
    with pytest.raises(DeliveryError, match="ConnectionRefusedError") as raised:
        channel.send(message())
    assert SECRET not in str(raised.value)


def test_mail_to_nobody_says_what_to_set(mail: MailStandIn, connect: Any) -> None:
    connect("office", **mail.connection)
    (channel,) = opened("office", recipients=())
    with pytest.raises(DeliveryError, match="PODSEARCH_ALERT_EMAILS"):
        channel.send(message())


@pytest.mark.parametrize("as_text", [False, True], ids=["object", "text, as the form in the UI makes it"])
def test_a_connection_may_name_several_services(connect: Any, as_text: bool) -> None:
    with WebhookStandIn().serve() as webhook:
        config: Any = [{"path": webhook.url("one")}, {"path": webhook.url("two")}]
        connect("hooks", conn_type="apprise", extra={"config": json.dumps(config) if as_text else config})
        for channel in opened("hooks"):
            channel.send(message())
        assert {call.path for call in webhook.calls} == {"/one", "/two"}


@pytest.mark.parametrize(
    ("connection", "problem"),
    [
        (None, "No alerts are sent through the connection broken"),
        ({"conn_type": "http", "password": SECRET}, "of type http, not apprise or smtp"),
        ({"conn_type": "apprise", "extra": {}}, 'its config is neither {"path": "<address>"}'),
        ({"conn_type": "apprise", "extra": {"config": f"json://{SECRET}"}}, "its config is neither"),
        ({"conn_type": "apprise", "extra": {"config": [{"url": f"json://{SECRET}"}]}}, "its config is neither"),
    ],
)
def test_a_connection_that_is_of_no_use_is_said_and_the_others_are_used(
    connect: Any, connection: dict[str, Any] | None, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    if connection:
        connect("broken", **connection)
    connect("fine", conn_type="apprise", extra={"config": {"path": "json://localhost"}})
    assert [channel.name.split("/")[0] for channel in opened("broken", "fine")] == ["fine"]
    assert problem in caplog.text
    assert SECRET not in caplog.text


def test_an_address_is_kept_out_of_logs(connect: Any) -> None:
    from airflow.providers.common.compat.sdk import redact

    url = f"json://example.org/{SECRET}"
    connect("hooks", conn_type="apprise", extra={"config": {"path": url}})
    assert opened("hooks")
    assert redact(f"sent to {url}") == "sent to ***"


def test_severity_chooses_the_connections(connect: Any) -> None:
    for name in ("pager", "chat"):
        connect(name, conn_type="apprise", extra={"config": {"path": "json://localhost"}})
    chosen = Channels({"critical": ("pager", "chat"), "warning": ("chat",)}, recipients=())
    assert [channel.name.split("/")[0] for channel in chosen.of(Severity.CRITICAL)] == ["pager", "chat"]
    assert [channel.name.split("/")[0] for channel in chosen.of(Severity.WARNING)] == ["chat"]
