from __future__ import annotations

import logging

import pytest

from include.queries.doc2query.progress import Progress


def test_a_line_now_and_then_with_rate_and_time_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = [0.0]
    progress = Progress(600, clock=lambda: now[0])
    for _ in range(100):
        now[0] += 1
        progress.add(2)
    assert len(caplog.messages) == 3
    assert caplog.messages[-1] == "Queries for 180 of 600 passages: 2.0 per second, 4 minutes left."
