from __future__ import annotations

from pathlib import Path

import pytest

from include.index.plan import OutdatedPlanError
from tests.include.index.pinecone.home import PineconeHome, make_small
from tests.include.index.two_runs import (
    assert_a_run_that_was_overtaken_is_refused,
    assert_two_at_once_end_in_one_snapshot,
)
from tests.standins.pinecone import PineconeStandIn


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


def test_a_run_that_was_overtaken_is_refused(tmp_path: Path, standin: PineconeStandIn) -> None:
    refused = assert_a_run_that_was_overtaken_is_refused(PineconeHome(tmp_path, "difference", standin))
    assert refused > 10, "from when its plan is written down until it verifies, before and after each request"


@pytest.mark.parametrize("seed", range(3))
def test_two_at_once_end_in_one_snapshot(tmp_path: Path, standin: PineconeStandIn, seed: int) -> None:
    home = PineconeHome(tmp_path, "difference", standin)
    standin.latency = 0.005
    failures = assert_two_at_once_end_in_one_snapshot(home, seed)
    assert any(isinstance(failure, OutdatedPlanError) for failure in failures)
