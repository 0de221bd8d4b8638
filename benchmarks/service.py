"""Search over HTTP, as `make serve` serves it: how long clients wait, and what happens under overload."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

OVERLOAD = 2
"""Load in multiples of the service's capacity."""
OPENING_SECONDS = 300


@contextmanager
def served(home: Path) -> Iterator[str]:
    """Serve what is live in a home, in a process of its own, until the end of the block; the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PODSEARCH_")}
    environment |= {"PODSEARCH_ARTIFACTS": str(home / "artifacts"), "PODSEARCH_INDEX_LOCATION": str(home / "index")}
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "include.search.http", "--port", str(port)],
        cwd=Path(__file__).parents[1],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(process, address)
        yield address
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], address: str) -> None:
    """Until it has what is live open, and its titles read."""
    deadline = time.monotonic() + OPENING_SECONDS
    for path in ("/readyz", "/suggest?q=a"):
        while True:
            try:
                if httpx.get(address + path, timeout=60).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The service does not answer {path}.")
            time.sleep(0.2)


def asked(address: str, queries: Sequence[str], *, clients: int, seconds: float) -> dict[str, float]:
    """Ask for some seconds, each client the next as the last is answered; a query that is turned away is asked again.

    No query is asked twice in the same words, for its vector would be remembered.
    """
    started = time.perf_counter()
    end = started + seconds

    def client(number: int) -> tuple[list[float], int]:
        own = random.Random(number)  # noqa: S311 (not for secrets)
        taken: list[float] = []
        turned_away = 0
        with httpx.Client(base_url=address, timeout=60) as http:
            while (begun := time.perf_counter()) < end:
                answer = http.get("/search", params={"q": _new(own, queries)})
                if answer.status_code == 503:
                    turned_away += 1
                    continue
                answer.raise_for_status()
                taken.append(time.perf_counter() - begun)
        return taken, turned_away

    with ThreadPoolExecutor(clients) as pool:
        own = list(pool.map(client, range(clients)))
    return _figures([one for taken, _ in own for one in taken], sum(away for _, away in own), started)


def overloaded(address: str, queries: Sequence[str], *, per_second: float, seconds: float) -> dict[str, float]:
    """Send so many queries a second, whether they are answered or not."""
    started = time.perf_counter()
    taken: list[float] = []
    turned_away = 0

    async def ask(client: httpx.AsyncClient, query: str) -> None:
        nonlocal turned_away
        begun = time.perf_counter()
        answer = await client.get("/search", params={"q": query})
        if answer.status_code == 503:
            turned_away += 1
        else:
            answer.raise_for_status()
            taken.append(time.perf_counter() - begun)

    async def send() -> None:
        own = random.Random(0)  # noqa: S311 (not for secrets)
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=httpx.Limits(max_connections=None)) as client:
            asking = []
            for number in range(int(per_second * seconds)):
                await asyncio.sleep(started + number / per_second - time.perf_counter())
                asking.append(asyncio.create_task(ask(client, _new(own, queries))))
            await asyncio.gather(*asking)

    asyncio.run(send())
    return {"sent_per_second": round(per_second, 1), **_figures(taken, turned_away, started)}


def _new(chance: random.Random, queries: Sequence[str]) -> str:
    return f"{chance.choice(queries)} {chance.getrandbits(32):x}"


def _figures(taken: Sequence[float], turned_away: int, started: float) -> dict[str, float]:
    """Times in ms, of what was answered alone."""
    p50, p99 = 1000 * np.percentile(taken, (50, 99))
    return {
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "per_second": round(len(taken) / (time.perf_counter() - started), 1),
        "turned_away": turned_away,
    }
