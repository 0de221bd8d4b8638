"""Serve the search page and its API: ``python -m include.search.http``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

import uvicorn

from include.errors import PermanentError, RetryLaterError
from include.search.http.access import read_token, require_safe
from include.settings import get_settings

SERVER: dict[str, Any] = {
    "http": "h11",
    "ws": "none",
    "access_log": False,  # it would have what people look for
    "server_header": False,
    "proxy_headers": False,
    "timeout_graceful_shutdown": 15,  # seconds, for what is at work
}
"""How uvicorn serves it."""
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"include.search.http": {"level": "INFO"}, "uvicorn.error": {"level": "INFO"}},
}


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped; not 0 if it cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m include.search.http", description="Serve search over HTTP.")
    parser.add_argument("--host", help="address to listen on (default: PODSEARCH_SEARCH_HOST)")
    parser.add_argument("--port", type=_between(1, 65_535), help="port to listen on (default: PODSEARCH_SEARCH_PORT)")
    parser.add_argument(
        "--workers", type=_between(1, 64), default=1, help="processes, each with a model of its own (default: 1)"
    )
    options = parser.parse_args(arguments)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        settings = get_settings()
        host, port = options.host or settings.search.host, options.port or settings.search.port
        require_safe(host, read_token(settings.search.token_file))
        if settings.search.reranker:
            from include.search.reranking import open_reranker

            open_reranker(settings.search.reranker)  # or each search would say what is wrong with it
    except (PermanentError, RetryLaterError) as error:
        print(error, file=sys.stderr)
        return 1
    uvicorn.run(
        "include.search.http.app:from_settings",
        factory=True,
        host=host,
        port=port,
        workers=options.workers,
        log_config=LOGGING,
        **SERVER,
    )
    return 0


def _between(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
