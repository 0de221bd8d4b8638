from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from include.quality.wording import number


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (2017, "", "2017"),
        (12_345, "", "12,345"),
        (0.123456, "", "0.1235"),
        (41.0, "%", "41 %"),
        (41.239, "%", "41.24 %"),
        (0.004, "%", "0 %"),
        (289.0, "characters", "289 characters"),
        (datetime(2017, 12, 31, 23, 59, tzinfo=UTC), "", "2017-12-31"),
        (None, "%", "none"),
        (float("nan"), "", "none"),
    ],
)
def test_figures_read_as_people_write_them(value: Any, unit: str, words: str) -> None:
    assert number(value, unit) == words
