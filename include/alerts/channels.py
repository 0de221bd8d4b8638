"""Where messages go: channels, and those that Apprise serves (chats, pagers, webhooks and a hundred more)."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from include.alerts.alert import Severity
from include.alerts.message import Event, Message
from include.storage import digest

if TYPE_CHECKING:
    import apprise

SECONDS = 15.0
"""How long one channel may take."""
MARKDOWN = re.compile(r"[?&]format=markdown$|&format=markdown(?=&)|(?<=\?)format=markdown&", re.IGNORECASE)
_SECRET_CHARS = 5
"""A shorter part of an address is a word such as `com`, not a secret."""

# Apprise writes addresses, which hold tokens, into its log: what it has to say is read from its results instead.
_log = logging.getLogger("apprise")
_log.propagate = False
_log.addHandler(logging.NullHandler())
# So does what it sends with, at its most talkative.
logging.getLogger("urllib3").setLevel(logging.INFO)


class DeliveryError(RuntimeError):
    """A message could not be sent. The text contains no secret."""


class Channel(Protocol):
    """A way to reach people.

    ``name`` identifies the channel, is the same in every process, and contains no secret.
    """

    @property
    def name(self) -> str: ...

    def send(self, message: Message) -> None:
        """Deliver a message within seconds.

        :raises DeliveryError: it was not delivered.
        """


class AppriseChannel:
    """A service that an Apprise address names (https://appriseit.com/services/).

    :param url: the address, with the secrets in it.
    :param connection: where the address was found: says in the name whose channel it is.
    """

    def __init__(self, url: str, *, connection: str) -> None:
        self._url = url
        scheme = re.match(r"[a-z0-9]{1,30}(?=://)", url, re.IGNORECASE)
        self.name = f"{connection}/{scheme[0].lower() if scheme else 'unknown'}/{digest(url, length=6)}"

    def send(self, message: Message) -> None:
        """Deliver a message as plain text, which Apprise escapes for the service.

        ``format=markdown`` in an address is ignored: not every service undoes what Apprise would then escape.

        :raises DeliveryError: the service refused, did not answer in time, cannot be reached, or does not exist.
        """
        import apprise  # takes a second to load, which only a message is worth

        service = apprise.Apprise.instantiate(MARKDOWN.sub("", self._url))
        if not isinstance(service, apprise.NotifyBase):
            raise DeliveryError("Apprise does not know its kind of address: see https://appriseit.com/services/.")
        _adapt(service, message)
        sender = apprise.Apprise()
        sender.add(service)
        result = sender.notify(
            title=message.subject,
            body=message.text,
            body_format=apprise.NotifyFormat.TEXT,
            notify_type=_notify_type(message),
            timeout=SECONDS,
        )
        if not result:
            reasons = " ".join(dict.fromkeys(entry.message for entry in result.logs()))
            raise DeliveryError(without_secrets(reasons, self._url) or result.status.name.lower())


def _adapt(service: apprise.NotifyBase, message: Message) -> None:
    """Change a service's defaults, unless its address says otherwise."""
    from apprise.common import OverflowMode
    from apprise.plugins.pagerduty import NotifyPagerDuty, PagerDutyAction

    if service.overflow_mode == OverflowMode.UPSTREAM:  # which lets the other side refuse what is too long
        service.overflow_mode = OverflowMode.TRUNCATE
    if isinstance(service, NotifyPagerDuty) and not service.dedup:
        # One incident for a fault, which its recovery resolves.
        service.dedup, service.action = message.fault_id, PagerDutyAction.MAP


def without_secrets(text: str, url: str) -> str:
    """A text with every part of an address removed."""
    parts = {part for form in (url, unquote(url)) for part in (form, *re.split(r"[/:@?&=+#,;\s]+", form))}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SECRET_CHARS:
            text = text.replace(part, "***")
    return text


def _notify_type(message: Message) -> apprise.NotifyType:
    import apprise

    if message.event is Event.RECOVERY:
        return apprise.NotifyType.SUCCESS
    return apprise.NotifyType.FAILURE if message.severity is Severity.CRITICAL else apprise.NotifyType.WARNING
