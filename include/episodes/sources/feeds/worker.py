"""The process that reads feeds: answers frames from ``parsers.py``. It imports little, because it starts often."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from dataclasses import asdict
from typing import Any, BinaryIO

from include.episodes.sources.feeds.failure import FeedError
from include.episodes.sources.feeds.parse import parse_feed


def main() -> None:
    """Answer the parent's frames until it closes the pipe."""
    memory, seconds = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process, and knows when
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get among the frames
    while (question := _frame(sys.stdin.buffer)) is not None:
        body = _frame(sys.stdin.buffer) or b""
        signal.alarm(seconds + 1)  # ends this process even if the parent is no more
        reply = json.dumps(_reply(json.loads(question), body)).encode()
        replies.write(len(reply).to_bytes(4, "big") + reply)
        replies.flush()
        signal.alarm(0)


def _reply(question: dict[str, str], body: bytes) -> dict[str, Any]:
    try:
        return asdict(parse_feed(body, **question))
    except FeedError as error:
        return {"reason": error.reason, "detail": error.detail}


def _frame(stream: BinaryIO) -> bytes | None:
    head = stream.read(4)
    return stream.read(int.from_bytes(head, "big")) if len(head) == 4 else None


if __name__ == "__main__":
    main()
