"""Reading feeds in processes of their own, which may be killed.

A hostile feed keeps feedparser busy for minutes within one regular expression, where no thread can be stopped, or makes
it fill the memory. A process can be given limits. Processes stay for many feeds, since starting one costs more than
reading a feed; a process that had to be killed is replaced when the next feed comes.

Both sides speak in frames: four bytes of length, then JSON or the feed's bytes.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from include.episodes.sources.feeds.failure import FeedError, Reason
from include.episodes.sources.feeds.parse import Parsed

SECONDS = 60.0
"""A feed of 17 MiB with 5,500 episodes takes 3 seconds; one of the same size with 90,000 tiny items takes 15."""
MEMORY_BYTES = 2**30
"""Address space of a process: either of these two fits into half of it."""
PROCESSES = 2

_MODULE = "include.episodes.sources.feeds.worker"
_ROOT = Path(__file__).resolve().parents[4]
"""The folder that ``include`` is imported from."""


class FeedParsers:
    """A few processes that read feeds; use it as an asynchronous context manager.

    :param seconds: how long one feed may take.
    :param memory: bytes of address space that a process may use.
    """

    def __init__(self, *, processes: int = PROCESSES, seconds: float = SECONDS, memory: int = MEMORY_BYTES) -> None:
        self.seconds = seconds
        self.memory = memory
        self._idle: asyncio.Queue[Process | None] = asyncio.Queue()
        for _ in range(processes):
            self._idle.put_nowait(None)  # started when the first feed needs it

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        while not self._idle.empty():
            if process := self._idle.get_nowait():
                await _end(process)

    async def parse(self, body: bytes, *, feed_id: str, address: str, charset: str = "") -> Parsed:
        """:func:`include.episodes.sources.feeds.parse.parse_feed`, within limits.

        :raises FeedError: there is nothing to use in the feed, or reading it took too much.
        """
        question = {"feed_id": feed_id, "address": address, "charset": charset}
        process = await self._idle.get()
        try:
            process = process or await self._start()
            async with asyncio.timeout(self.seconds):
                reply = await _ask(process, question, body)
        except BaseException as error:
            if process:
                await _end(process)
                process = None
            if isinstance(error, TimeoutError):
                raise FeedError(Reason.PARSER_LIMIT, f"reading it took more than {self.seconds:g} seconds") from None
            if isinstance(error, EOFError | ConnectionError):
                raise FeedError(Reason.PARSER_LIMIT, "the process that read it broke down") from None
            raise
        finally:
            self._idle.put_nowait(process)
        if "reason" in reply:
            raise FeedError(Reason(reply["reason"]), reply["detail"])
        return Parsed(**reply)

    async def _start(self) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            _MODULE,
            str(self.memory),
            str(math.ceil(self.seconds)),
            cwd=_ROOT,
            stdin=PIPE,
            stdout=PIPE,
        )


async def _ask(process: Process, question: Mapping[str, str], body: bytes) -> dict[str, Any]:
    assert process.stdin
    assert process.stdout
    for frame in (json.dumps(question).encode(), body):
        process.stdin.write(len(frame).to_bytes(4, "big") + frame)
    await process.stdin.drain()
    size = int.from_bytes(await process.stdout.readexactly(4), "big")
    reply: dict[str, Any] = json.loads(await process.stdout.readexactly(size))
    return reply


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
