"""Dates and durations as datasets and feeds write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.episodes.times import parse_date, parse_duration


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("2017-12-01 05:00:00+00", datetime(2017, 12, 1, 5, tzinfo=UTC)),
        ("2017-12-01 05:00:00", datetime(2017, 12, 1, 5, tzinfo=UTC)),
        ("2017-12-01 05:00:00-05", datetime(2017, 12, 1, 10, tzinfo=UTC)),
        ("2017-12-01 05:00:00+05:30", datetime(2017, 11, 30, 23, 30, tzinfo=UTC)),
        ("2017-12-01T05:00:00.999Z", datetime(2017, 12, 1, 5, tzinfo=UTC)),
        (" 2017-12-01 ", datetime(2017, 12, 1, tzinfo=UTC)),
        ("1493715900", datetime(2017, 5, 2, 9, 5, tzinfo=UTC)),
        ("Tue, 02 May 2017 09:05:00 +0200", datetime(2017, 5, 2, 7, 5, tzinfo=UTC)),
        ("Mon, 02 May 1960 09:05:01 +0100", datetime(1960, 5, 2, 8, 5, 1, tzinfo=UTC)),
        ("Tue, 2 May 2017 9:05 PM EST", datetime(2017, 5, 3, 2, 5, tzinfo=UTC)),
        ("Tue, 2 May 2017 12:05 a.m. GMT", datetime(2017, 5, 2, 0, 5, tzinfo=UTC)),
        ("Tue, 2 May 2017 21:05 PM EST", datetime(2017, 5, 3, 2, 5, tzinfo=UTC)),
        ("2017-05-02 9:05 PM", datetime(2017, 5, 2, 21, 5, tzinfo=UTC)),
        ("Tue, 02 May 2017", datetime(2017, 5, 2, tzinfo=UTC)),
        ("Sat, 2 Sept 2017 09:05:00 GMT", datetime(2017, 9, 2, 9, 5, tzinfo=UTC)),
        ("2017-05-02 09:05:00 UTC", datetime(2017, 5, 2, 9, 5, tzinfo=UTC)),
        ("Tue, 02 May 2017 09:05:00 +02:00", datetime(2017, 5, 2, 7, 5, tzinfo=UTC)),
        ("Tue, 2 May 2017 9:05 PM -05:30", datetime(2017, 5, 3, 2, 35, tzinfo=UTC)),
        ("1493715900.0", datetime(2017, 5, 2, 9, 5, tzinfo=UTC)),
        ("2017/05/02", None),
        ("05/02/2017 09:05", None),
        ("1493715900000", None),
        ("1899-12-31 23:59:59+00", None),
        ("2100-01-01 00:00:00+00", None),
        ("0001-01-01 00:00:00+05", None),
        ("2017-13-01", None),
        ("Di, 02 Mai 2017 09:05:00 +0200", None),
        ("Sat, 31 Feb 2017 10:00:00 GMT", None),
        ("Tue, 02 May 2017 25:61:00 GMT", None),
        ("soon", None),
        ("", None),
    ],
)
def test_dates(value: str, date: datetime | None) -> None:
    assert parse_date(value) == date


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("60", 60),
        (" 60.9 ", 60),
        ("01:02:03", 3723),
        ("62:03", 3723),
        ("1h 2m", 3720),
        ("1h2m3s", 3723),
        ("1 hr, 5 mins", 3900),
        ("PT1H2M3S", 3723),
        ("pt62m3.5s", 3723),
        ("P1DT1H", 90_000),
        ("P1M", None),
        ("1.5 hours", 5400),
        ("3723 seconds", 3723),
        ("0", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("P", None),
        ("PT", None),
        ("", None),
        ("5 metres", None),
        ("9999999h", None),
        ("x", None),
    ],
)
def test_durations(value: str, seconds: int | None) -> None:
    assert parse_duration(value) == seconds
