"""Channels for alerts, made from Airflow connections (types ``apprise`` and ``smtp``), which hold their secrets."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import redact
from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.sdk import BaseHook, Connection
from airflow.sdk.log import mask_secret

from include.alerts.channels import AppriseChannel, Channel, DeliveryError
from include.storage import digest

if TYPE_CHECKING:
    from include.alerts.alert import Severity
    from include.alerts.message import Message

log = logging.getLogger(__name__)

SMTP_SECONDS = 10


class Channels:
    """The channels of each severity.

    :param routes: ids of connections by severity.
    :param recipients: the addresses that mail goes to.
    """

    def __init__(self, routes: Mapping[str, Sequence[str]], *, recipients: Sequence[str]) -> None:
        self._routes = routes
        self._recipients = recipients
        self._open = cache(self._channels_of)

    def of(self, severity: Severity) -> list[Channel]:
        """The channels that can be opened; what is wrong with the others is logged."""
        return [channel for connection in self._routes[severity] for channel in self._open(connection)]

    def _channels_of(self, connection_id: str) -> tuple[Channel, ...]:
        try:
            connection = BaseHook.get_connection(connection_id)
            if connection.conn_type == "apprise":
                return tuple(AppriseChannel(url, connection=connection_id) for url in _addresses(connection))
            if connection.conn_type == "smtp":
                return (MailChannel(connection_id, self._recipients),)
            problem = f"it is of type {connection.conn_type}, not apprise or smtp"
        except ValueError as error:
            problem = str(error)
        except Exception as error:  # Airflow has its own exceptions, which differ between its components
            problem = f"{type(error).__name__}"
        log.warning("No alerts are sent through the connection %s: %s.", connection_id, redact(problem))
        return ()


class MailChannel:
    """Mail to all recipients in one message, threaded by fault."""

    def __init__(self, connection_id: str, recipients: Sequence[str]) -> None:
        self._connection_id = connection_id
        self._recipients = list(recipients)
        self.name = f"{connection_id}/mail/{digest(*recipients, length=6)}"

    def send(self, message: Message) -> None:
        """Deliver a message.

        :raises DeliveryError: the mail server cannot be reached or refused the mail, or there are no recipients.
        """
        if not self._recipients:
            raise DeliveryError("there are no recipients: set PODSEARCH_ALERT_EMAILS.")
        try:
            with _ImpatientHook(self._connection_id) as server:
                server.send_email_smtp(
                    to=self._recipients,
                    subject=message.subject,
                    html_content=message.html,
                    custom_headers={
                        "References": f"<{message.fault_id}@podsearch>",
                        "Auto-Submitted": "auto-generated",
                    },
                )
        except Exception as error:
            raise DeliveryError(str(redact(f"{type(error).__name__}: {error}"))) from None


class _ImpatientHook(SmtpHook):
    """Gives up soon: what could not be sent is sent on the next occasion."""

    @property
    def timeout(self) -> int:
        return min(super().timeout, SMTP_SECONDS)

    @property
    def smtp_retry_limit(self) -> int:
        return 0


def _addresses(connection: Connection) -> list[str]:
    """The addresses of a connection of type ``apprise``, kept out of every log from here on.

    :raises ValueError: it has none.
    """
    from airflow.providers.apprise.hooks.apprise import AppriseHook

    try:
        config = AppriseHook().get_config_from_conn(connection)
        addresses = [str(entry["path"]) for entry in (config if isinstance(config, list) else [config])]
    except (KeyError, TypeError, ValueError):
        raise ValueError('its config is neither {"path": "<address>"} nor a list of these') from None
    for address in addresses:
        mask_secret(address)
    return addresses
