from __future__ import annotations

import math

import pytest

from include.evaluation.formatting import count, number, seconds, share, signed, size


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_a_number_is_a_dash(value: float) -> None:
    assert {number(value), signed(value), count(value), seconds(value), share(value, 1), size(value)} == {"–"}


def test_figures_are_written_for_people() -> None:
    assert (number(0.5), number(None), number(0.256, 2)) == ("0.500", "–", "0.26")
    assert (signed(0.1234), signed(-0.1), signed(None)) == ("+0.123", "−0.100", "–")
    assert (count(12345), count(None)) == ("12,345", "–")


def test_a_little_is_not_called_nothing() -> None:
    assert (share(1, 3), share(1, 100_000), share(0, 5), share(0, 0)) == ("33.3 %", "<0.1 %", "0.0 %", "–")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.44, "0.4 s"), (59.6, "1 min 00 s"), (42, "42 s"), (185, "3 min 05 s"), (7920, "2 h 12 min"), (9.97, "10 s")],
)
def test_durations_carry_over_to_the_next_unit(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1 MiB"), (2**29, "512 MiB"), (1023 * 2**20, "1.0 GiB"), (5.1 * 2**30, "5.1 GiB"), (0, "–"), (-1, "–")],
)
def test_sizes_are_written_for_people(value: float, text: str) -> None:
    assert size(value) == text
