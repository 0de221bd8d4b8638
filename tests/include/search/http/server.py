"""The service as it runs: uvicorn on a free port, over the small live index, spoken to over real HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from include.index.contract import EpisodeIndex
from include.index.lancedb import LanceIndex
from include.index.live import LivePointer
from include.search.http.__main__ import SERVER
from include.search.http.app import create_app
from include.search.service import SearchService
from include.storage import ArtifactStore


def open_service(
    home: Path, open_index: Callable[[LivePointer], EpisodeIndex] | None = None
) -> Callable[[], SearchService]:
    """What opens the search service of a home."""
    index = LanceIndex(str(home / "artifacts" / "index"))
    return lambda: SearchService(ArtifactStore(home / "artifacts"), open_index or (lambda live: index), weight=0.5)


@contextmanager
def served(opening: Callable[[], SearchService], **options: Any) -> Iterator[str]:
    """Serve until the end of the block; the address. Options are those of the application."""
    config = uvicorn.Config(create_app(opening, **options), port=0, log_config=None, **SERVER)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the server has ended"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server does not stop"
