"""Fixtures of several modules here."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from tests.include.evaluation.results import results_at

MakeResults = Callable[..., pa.Table]


@pytest.fixture
def make_results() -> MakeResults:
    return results_at
