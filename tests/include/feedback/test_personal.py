"""What looks personal is found, however it is written; what people look for is not taken for it."""

from __future__ import annotations

import pytest

from include.feedback.personal import looks_personal


@pytest.mark.parametrize(
    "query",
    [
        "podcasts by jane.doe@example.org",
        "jane.doe＠example.org",
        "jane.doe@example\u200b.org",
        "call +49 (0)30 1234-567",
        "0171/2345678",
        "555 123 4567",
        "٠١٧١٢٣٤٥٦٧",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111 lost",
        "DE89 3704 0044 0532 0130 00",
        "078-05-1120 number",
        "dear doctor " * 20,
    ],
)
def test_a_query_that_may_say_who_somebody_is_is_not_kept(query: str) -> None:
    assert looks_personal(query)


@pytest.mark.parametrize(
    "query",
    ["eat better during the holidays", "episode 1024", "2017", "9/11", "the 1918 flu", "睡眠 音楽", "top 100 of 1999"],
)
def test_what_people_look_for_is_kept(query: str) -> None:
    assert not looks_personal(query)
