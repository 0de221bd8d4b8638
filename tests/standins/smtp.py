"""A mail server that keeps what it is sent, over real SMTP on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Literal, cast

from aiosmtpd.controller import Controller

Fault = Literal["refuse", "stall"]


class _AnyPort(Controller):
    """Listens where it is free to, and knows where that is before it looks whether it answers."""

    def _trigger_server(self) -> None:
        self.port = cast("asyncio.Server", self.server).sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


class MailStandIn:
    """The server; ``fault`` says how it misbehaves from now on.

    * ``refuse``: every message is refused for good;
    * ``stall``: the server takes a message and never answers.
    """

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.fault: Fault | None = None
        self.port = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.fault == "refuse":
            return "554 no service here"
        if self.fault == "stall":
            await asyncio.sleep(3600)
        self.messages.append(message_from_bytes(envelope.content, policy=policy.default))
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 kept"

    @contextmanager
    def serve(self) -> Iterator[MailStandIn]:
        """Answer until the end of the block."""
        controller = _AnyPort(self, hostname="127.0.0.1", port=0)
        controller.start()
        self.port = controller.port
        try:
            yield self
        finally:
            controller.stop()

    @property
    def connection(self) -> dict[str, Any]:
        """An Airflow connection to it, as JSON has it."""
        extra = {"from_email": "podsearch@example.org", "disable_ssl": True, "disable_tls": True}
        return {"conn_type": "smtp", "host": "127.0.0.1", "port": self.port, "extra": extra}
