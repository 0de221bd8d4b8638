from __future__ import annotations

from pathlib import Path

import pytest

from include.index.plan import OutdatedPlanError
from tests.include.index.crashes import EmbeddedHome, make_quick
from tests.include.index.two_runs import (
    assert_a_run_that_was_overtaken_is_refused,
    assert_two_at_once_end_in_one_snapshot,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


def test_a_run_that_was_overtaken_is_refused(tmp_path: Path) -> None:
    refused = assert_a_run_that_was_overtaken_is_refused(EmbeddedHome(tmp_path, "difference"))
    assert refused > 6, "from when its plan is written down until it verifies"


@pytest.mark.parametrize("seed", range(3))
def test_two_at_once_end_in_one_snapshot(tmp_path: Path, seed: int) -> None:
    failures = assert_two_at_once_end_in_one_snapshot(EmbeddedHome(tmp_path, "difference"), seed)
    assert any(isinstance(failure, OutdatedPlanError) for failure in failures)
