from __future__ import annotations

from pathlib import Path

import pytest

from include.errors import PermanentError
from include.evaluation.comparison import load_comparison
from include.evaluation.gate import UnexplainedError
from include.retriever.registry import load_manifest
from include.settings import get_settings
from operators.comparison import PlanComparisonOperator
from tests.operators.conftest import FakeContext, Installation, execute


def test_another_precision_is_measured_against_what_is_live(
    installation: Installation, context: FakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.search_with_tuned(tmp_path)
    monkeypatch.setenv("PODSEARCH_ENCODER_PRECISION", "int8")
    get_settings.cache_clear()

    mapped = execute(PlanComparisonOperator(task_id="plan_comparison"), context)

    assert [one["model_version"] for one in mapped] == ["base-int8", "tuned", "tuned-int8"]
    comparison, _ = load_comparison(installation.store, context.ti.pushed["comparison_id"])
    assert (comparison.incumbent, comparison.candidate) == ("tuned", "tuned-int8")
    assert load_manifest(installation.store, "tuned-int8").kind == "fine-tuned"


def test_a_decision_in_place_of_the_gate_is_refused_before_anything_is_measured(
    installation: Installation, context: FakeContext, tmp_path: Path
) -> None:
    installation.search_with_tuned(tmp_path)
    plan = PlanComparisonOperator(task_id="plan_comparison")

    context.params = {"overrule_gate": "accept", "overrule_reason": " "}
    with pytest.raises(UnexplainedError, match="Give a reason why the model should be accepted"):
        execute(plan, context)
    context.params = {"overrule_gate": "accept", "overrule_reason": "I know better"}
    with pytest.raises(PermanentError, match="no model to decide about"):
        execute(plan, context)
    assert not installation.store.exists("comparisons")
