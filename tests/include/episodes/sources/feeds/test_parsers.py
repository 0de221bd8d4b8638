from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

from include.episodes.sources.feeds.failure import FeedError, Reason
from include.episodes.sources.feeds.parse import Parsed, parse_feed
from include.episodes.sources.feeds.parsers import FeedParsers
from tests.standins.feeds import Item, rss

FEED = "9b024349ccf05f69a6096b82873eab3c"
GOOD = rss([Item(guid="1", title="日本")])
NEVER_ENDING = rss([Item(extra=f"<author>a@{'a.' * 60_000}!</author>")])
"""Takes a regular expression of feedparser's minutes."""


async def read(parsers: FeedParsers, body: bytes) -> Parsed | Reason:
    try:
        return await parsers.parse(body, feed_id=FEED, address="https://show.example/")
    except FeedError as error:
        return error.reason


def test_feeds_are_read_by_one_process_after_the_other() -> None:
    async def run() -> None:
        async with FeedParsers(processes=1) as parsers:
            expected = parse_feed(GOOD, feed_id=FEED, address="https://show.example/")
            found = await asyncio.gather(*(read(parsers, body) for body in (GOOD, b"<root/>", GOOD)))
            assert found == [expected, Reason.NOT_A_FEED, expected]

    asyncio.run(run())


def test_a_feed_that_takes_too_long_is_given_up_and_the_next_is_read() -> None:
    async def run() -> None:
        async with FeedParsers(processes=1, seconds=2) as parsers:
            started = time.monotonic()
            assert await read(parsers, NEVER_ENDING) is Reason.PARSER_LIMIT
            assert time.monotonic() - started < 50
            assert isinstance(await read(parsers, GOOD), Parsed)

    asyncio.run(run())


def test_a_feed_that_takes_too_much_memory_is_given_up_and_the_next_is_read() -> None:
    hungry = rss([Item(guid=str(number), description="x" * 1_000) for number in range(30_000)])

    async def run() -> None:
        async with FeedParsers(processes=1, memory=2**27) as parsers:
            assert await read(parsers, hungry) is Reason.PARSER_LIMIT
            assert isinstance(await read(parsers, GOOD), Parsed)

    asyncio.run(run())


def test_a_parser_loads_no_library_of_tables() -> None:
    """Each takes a good part of the memory that a parser may use."""
    code = "import sys, include.episodes.sources.feeds.worker; print(*{'pandas', 'numpy', 'pyarrow'} & {*sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert loaded.strip() == ""


@pytest.mark.parametrize("cancelled", [True, False])
def test_no_process_is_left_behind(cancelled: bool) -> None:
    async def run() -> None:
        async with FeedParsers(processes=1) as parsers:
            task = asyncio.create_task(read(parsers, NEVER_ENDING if cancelled else GOOD))
            process = None
            while process is None:  # until the process is at work
                await asyncio.sleep(0.2)
                process = next(iter(_children()), None)
            if cancelled:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert not _children()

    asyncio.run(run())


def _children() -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process().children() if "feeds.worker" in " ".join(child.cmdline())]
