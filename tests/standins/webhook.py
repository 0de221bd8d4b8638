"""A receiver of webhooks that keeps what it is sent, over real HTTP on a free port."""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.standins.serving import serving

Fault = Literal["refuse", "error", "stall", "drip", "disconnect"]


@dataclass(frozen=True)
class Call:
    """One request: where to, and the JSON in it."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]


class WebhookStandIn:
    """The server; ``fault`` says how it misbehaves from now on.

    * ``refuse``: 403; * ``error``: 500;
    * ``stall``: it never answers; * ``drip``: it answers a byte a second, for minutes;
    * ``disconnect``: it hangs up.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.attempts = 0
        """Requests, those that were not accepted included."""
        self.fault: Fault | None = None
        self.port = 0
        self._closing = threading.Event()

    @contextmanager
    def serve(self, *, tls: bool = False) -> Iterator[WebhookStandIn]:
        """Answer until the end of the block.

        :param tls: over HTTPS, with a certificate that nobody vouches for.
        """
        self._closing.clear()
        with serving(_Handler, tls=_tls_context() if tls else None, webhook=self) as self.port:
            try:
                yield self
            finally:
                self._closing.set()

    def url(self, path: str = "hook") -> str:
        """An Apprise address of it: a plain JSON webhook."""
        return f"json://127.0.0.1:{self.port}/{path}"

    def connection(self, path: str = "hook") -> dict[str, Any]:
        """An Airflow connection to it, as JSON has it."""
        return {"conn_type": "apprise", "extra": {"config": [{"path": self.url(path)}]}}

    def _misbehave(self, handler: BaseHTTPRequestHandler) -> None:
        if self.fault in ("refuse", "error"):
            handler.send_response(403 if self.fault == "refuse" else 500)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif self.fault == "stall":
            self._closing.wait(600)
        elif self.fault == "drip":
            handler.send_response(200)
            handler.send_header("Content-Length", "600")
            handler.end_headers()
            while not self._closing.wait(1):
                handler.wfile.write(b".")
                handler.wfile.flush()
        handler.close_connection = True

    def wait_for(self, calls: int, seconds: float = 30) -> list[Call]:
        """The calls, once there are so many."""
        deadline = time.monotonic() + seconds
        while len(self.calls) < calls and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.calls


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    webhook: WebhookStandIn

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.webhook.attempts += 1
        if self.webhook.fault:
            self.webhook._misbehave(self)
            return
        self.webhook.calls.append(Call(self.path, json.loads(content), dict(self.headers)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the output of the tests clean."""


def _tls_context() -> ssl.SSLContext:
    """With a new certificate of its own making."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(certificate.public_bytes(Encoding.PEM))
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        context.load_cert_chain(file.name)
    return context
