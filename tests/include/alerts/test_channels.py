from __future__ import annotations

import io
import json
import logging
import socket
import time
from collections.abc import Iterator

import apprise
import pytest
from apprise.plugins import discord, pagerduty, slack, telegram

from include.alerts.alert import Severity
from include.alerts.book import Fault
from include.alerts.channels import AppriseChannel, DeliveryError, without_secrets
from include.alerts.message import BREAK, Event, Message, compose
from tests.include.alerts.faults import START, alert
from tests.standins.webhook import WebhookStandIn

TOKEN = "T0pSecretT0ken"


@pytest.fixture
def webhook() -> Iterator[WebhookStandIn]:
    with WebhookStandIn().serve() as standin:
        yield standin


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What reaches the handlers of the root logger, where Airflow's are. (caplog also hears what is kept from it.)"""
    text, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


def message(event: Event = Event.ALERT, **values: object) -> Message:
    fault = Fault(alert=alert(**values), first_at=START, over_at=START)  # type: ignore[arg-type]
    return compose(fault, event)


def channel(webhook: WebhookStandIn) -> AppriseChannel:
    return AppriseChannel(webhook.url(TOKEN), connection="alerts")


def test_a_webhook_gets_subject_text_and_type(webhook: WebhookStandIn) -> None:
    channel(webhook).send(message())
    (call,) = webhook.calls
    assert call.path == f"/{TOKEN}"
    assert call.body["title"] == message().subject
    assert call.body["message"] == message().text
    assert call.body["type"] == "failure"


@pytest.mark.parametrize(
    ("event", "severity", "kind"),
    [
        (Event.ALERT, Severity.CRITICAL, "failure"),
        (Event.REMINDER, Severity.WARNING, "warning"),
        (Event.RECOVERY, Severity.CRITICAL, "success"),
        (Event.RECOVERY, Severity.WARNING, "success"),
    ],
)
def test_a_recovery_is_told_from_a_failure(
    webhook: WebhookStandIn, event: Event, severity: Severity, kind: str
) -> None:
    channel(webhook).send(message(event, severity=severity))
    assert webhook.calls[0].body["type"] == kind


@pytest.mark.parametrize("fault", ["refuse", "error", "disconnect"])
def test_a_receiver_that_refuses_is_an_error_without_secrets(
    webhook: WebhookStandIn, fault: str, log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    webhook.fault = fault  # type: ignore[assignment]
    with pytest.raises(DeliveryError) as raised:
        channel(webhook).send(message())
    output = capfd.readouterr()
    assert TOKEN not in str(raised.value) + log.getvalue() + output.out + output.err
    if fault != "disconnect":
        assert {"refuse": "403", "error": "500"}[fault] in str(raised.value), "the log must say why"


@pytest.mark.parametrize("fault", ["stall", "drip"])
def test_a_receiver_that_hangs_is_given_up_in_time(
    webhook: WebhookStandIn, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.alerts.channels.SECONDS", 2.0)
    webhook.fault = fault  # type: ignore[assignment]
    started = time.monotonic()
    with pytest.raises(DeliveryError):
        channel(webhook).send(message())
    assert time.monotonic() - started < 10


def test_a_receiver_that_is_not_there_is_an_error() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(DeliveryError):
        AppriseChannel(f"json://127.0.0.1:{port}/{TOKEN}", connection="alerts").send(message())


@pytest.mark.parametrize("url", ["nonsense://T0pSecretT0ken", "T0pSecretT0ken", "slack://T0pSecretT0ken"])
def test_an_address_that_is_none_is_an_error_without_secrets(
    url: str, log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = AppriseChannel(url, connection="alerts")
    with pytest.raises(DeliveryError, match="Apprise does not know its kind of address") as raised:
        wrong.send(message())
    output = capfd.readouterr()
    assert TOKEN not in str(raised.value) + wrong.name + log.getvalue() + output.out + output.err


def test_names_tell_channels_apart_and_hold_no_secret(webhook: WebhookStandIn) -> None:
    names = {AppriseChannel(webhook.url(token), connection="alerts").name for token in (TOKEN, "another-token")}
    assert len(names) == 2
    assert channel(webhook).name in names
    assert all(name.startswith("alerts/json/") and TOKEN not in name for name in names)


def test_every_part_of_an_address_is_a_secret() -> None:
    url = "slack://bot@T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?token=much%20secret"
    text = f"POST {url} failed for A1BRTD4JD: much secret, T1JJ3T3L2, TIiajkdnlazkcOXrIdevi7FQ: error=404"
    cleaned = without_secrets(text, url)
    assert not [part for part in ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ", "secret") if part in cleaned]
    assert cleaned.endswith("error=404")


@pytest.mark.parametrize(
    "options", ["", "?format=markdown", "?format=Markdown&footer=no", "?blocks=yes&format=markdown"]
)
@pytest.mark.parametrize(
    "url",
    [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "tgram://123456789:abcdefg_hijklmnop/12315544",
        "mmost://127.0.0.1:{port}/3ccdd113474722377935511fc85d3dd4",
        "workflows://127.0.0.1:{port}/643e69f83c8944/signature",
        "json://127.0.0.1:{port}/hook",
    ],
)
def test_no_service_is_sent_a_mention_or_a_link_of_a_feed(
    url: str, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = (
        "<!here|x> <@U123|Bob> @everyone <users/all> <http://evil.example|good> [good](http://evil.example) "
        "http://evil.example evil.example/x"
    )
    with WebhookStandIn().serve(tls=url.startswith("workflows")) as webhook:
        here = f"http://127.0.0.1:{webhook.port}"
        monkeypatch.setattr(slack.NotifySlack, "webhook_url", here)
        monkeypatch.setattr(discord.NotifyDiscord, "notify_url", here)
        monkeypatch.setattr(telegram.NotifyTelegram, "notify_url", f"{here}/")
        address = url.format(port=webhook.port) + options
        if url.startswith("workflows"):
            address += ("&" if options else "?") + "verify=no"
        AppriseChannel(address, connection="alerts").send(message(headline=hostile, detail=hostile))
    text = json.dumps([call.body for call in webhook.calls], ensure_ascii=False)
    assert "good" in text
    for live in ("<!", "<@", "<http", "@everyone", "<users", "://evil", "](", "evil.example"):
        assert live not in text.replace("\\", ""), live
    assert "://airflow/dags/ingest" in text, "the link of the alert stays one"


def test_slack_shows_text_of_feeds_as_text(webhook: WebhookStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apprise's own escaping for `format=markdown` let `<!here` through, and broke the links of the alert."""
    monkeypatch.setattr(slack.NotifySlack, "webhook_url", f"http://127.0.0.1:{webhook.port}/services")
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts?format=markdown"
    AppriseChannel(url, connection="alerts").send(message(headline="x", detail="<!here|x> *bold* & <http://a|b>"))
    (call,) = webhook.calls
    assert call.path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    text = call.body["attachments"][0]["text"].replace(BREAK, "")
    assert "&lt;!here|x&gt; *bold* &amp; &lt;http://a|b&gt;" in text
    assert text.endswith("\nTask: http://airflow/dags/ingest_episodes")


def test_a_pager_opens_one_incident_for_a_fault_and_closes_it(
    webhook: WebhookStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{webhook.port}/v2/enqueue"
    monkeypatch.setattr(pagerduty, "PAGERDUTY_API_LOOKUP", dict.fromkeys(pagerduty.PAGERDUTY_API_LOOKUP, url))
    pager = AppriseChannel("pagerduty://integrationkey@apikey", connection="alerts")
    for event in Event:
        pager.send(message(event))
    bodies = [call.body for call in webhook.calls]
    assert [body["event_action"] for body in bodies] == ["trigger", "trigger", "resolve"]
    assert {body["dedup_key"] for body in bodies} == {alert().fault_id}
    assert bodies[0]["payload"]["severity"] == "critical"


def test_teams_gets_a_card() -> None:
    """Through a workflow of Power Automate, as Teams takes messages now."""
    with WebhookStandIn().serve(tls=True) as teams:
        url = f"workflows://127.0.0.1:{teams.port}/643e69f83c8944/{TOKEN}?verify=no"
        AppriseChannel(url, connection="alerts").send(message())
    (call,) = teams.calls
    assert "/workflows/643e69f83c8944/triggers/manual/paths/invoke" in call.path
    assert call.body["attachments"][0]["content"]["type"] == "AdaptiveCard"
    assert "Ids are unique" in str(call.body)


def test_a_service_of_short_messages_gets_a_cut_one(webhook: WebhookStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.plugins.custom_json import NotifyJSON

    monkeypatch.setattr(NotifyJSON, "body_maxlen", 100)
    channel(webhook).send(message())
    (call,) = webhook.calls
    assert len(call.body["message"]) <= 100


@pytest.mark.parametrize(
    "url",
    [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts",
        "workflows://prod-1.logic.azure.com:443/643e69f83c8944/signature",
        "pagerduty://integrationkey@apikey",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "tgram://123456789:abcdefg_hijklmnop/12315544",
        "jsons://example.org/hook",
    ],
)
def test_the_addresses_that_the_documentation_names_are_known(url: str) -> None:
    assert isinstance(apprise.Apprise.instantiate(url), apprise.NotifyBase)
