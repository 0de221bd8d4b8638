"""A stand-in's server, in a thread of its own."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server(ThreadingHTTPServer):
    """Takes many connections at once."""

    request_queue_size = 128


@contextmanager
def serving(
    handler: type[BaseHTTPRequestHandler],
    *,
    server: type[Server] = Server,
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    **known: Any,
) -> Iterator[int]:
    """Answer until the end of the block; the port.

    :param port: 0 for one that is free.
    :param tls: over HTTPS.
    :param known: what handlers have as attributes.
    """
    running = server(("127.0.0.1", port), type(handler.__name__, (handler,), known))
    if tls:
        running.socket = tls.wrap_socket(running.socket, server_side=True)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield running.server_port
    finally:
        running.shutdown()
        running.server_close()
