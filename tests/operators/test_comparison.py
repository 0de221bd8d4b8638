from __future__ import annotations

from pathlib import Path

import pytest

from include.evaluation.comparison import load_comparison
from include.retriever.registry import load_manifest
from include.settings import get_settings
from operators.comparison import PlanComparisonOperator
from tests.operators.conftest import FakeContext, Installation


def test_another_precision_is_measured_against_what_is_live(
    installation: Installation, context: FakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot_id = installation.publish_snapshot()
    installation.register_base(tmp_path / "base")
    installation.register_model(tmp_path / "tuned", "tuned")
    installation.go_live("tuned", snapshot_id)
    monkeypatch.setenv("PODSEARCH_ENCODER_PRECISION", "int8")
    get_settings.cache_clear()

    mapped = PlanComparisonOperator(task_id="plan_comparison").execute(context)  # type: ignore[arg-type]

    assert [one["model_version"] for one in mapped] == ["base-int8", "tuned", "tuned-int8"]
    comparison, _ = load_comparison(installation.store, context.ti.pushed["comparison_id"])
    assert (comparison.incumbent, comparison.candidate) == ("tuned", "tuned-int8")
    assert load_manifest(installation.store, "tuned-int8").kind == "fine-tuned"
