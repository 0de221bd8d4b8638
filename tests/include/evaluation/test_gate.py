from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from include.evaluation.gate import Decision, decide

MakeResults = Callable[..., pa.Table]


@pytest.mark.parametrize(
    ("before", "after", "passed", "outcomes"),
    [
        pytest.param([3] * 40, [1] * 40, True, ["passed", "passed"], id="clear win"),
        pytest.param([1] * 40, [3] * 40, False, ["failed", "passed"], id="right episodes sink"),
        pytest.param([3] * 40, [3] * 20 + [90] * 20, False, ["failed", "failed"], id="right episodes are lost"),
        pytest.param([2] * 40, [2] * 40, True, ["passed", "passed"], id="no change"),
        pytest.param([1, 2] * 200, [2, 1] * 195 + [1, 2] * 5, True, ["passed", "passed"], id="noise, many queries"),
        pytest.param([1, 3] * 4, [3, 1] * 4, False, ["failed", "passed"], id="noise, too few to rule out a loss"),
        pytest.param([1] * 100, [1] * 98 + [2] * 2, True, ["passed", "passed"], id="a loss within the tolerance"),
    ],
)
def test_a_candidate_passes_if_a_loss_beyond_the_tolerance_is_ruled_out(
    make_results: MakeResults, before: list[int], after: list[int], passed: bool, outcomes: list[str]
) -> None:
    decision = decide({"test": make_results(after)}, {"test": make_results(before)}, reference_version="m1")
    assert decision.passed is passed
    assert [check.outcome for check in decision.checks if check.query_set == "test"] == outcomes
    assert decision.reference == "m1"


def test_one_query_set_that_fails_is_enough(make_results: MakeResults) -> None:
    good, bad = make_results([1] * 30), make_results([9] * 30, name="curated")
    decision = decide(
        {"test": good, "curated": bad},
        {"test": make_results([2] * 30), "curated": make_results([1] * 30, name="curated")},
    )
    assert not decision.passed


def test_a_missing_query_set_is_said_and_does_not_decide(make_results: MakeResults) -> None:
    decision = decide({"test": make_results([1] * 10)}, {"test": make_results([1] * 10)})
    assert decision.passed
    assert [check.outcome for check in decision.checks] == ["passed", "passed", "missing", "missing"]
    assert decision.reasons.count("There are no curated queries to compare on.") == 1


def test_a_set_of_few_queries_is_said_and_does_not_decide(make_results: MakeResults) -> None:
    few = make_results([90] * 4, name="curated"), make_results([1] * 4, name="curated")
    decision = decide(
        {"test": make_results([1] * 10), "curated": few[0]}, {"test": make_results([1] * 10), "curated": few[1]}
    )
    assert decision.passed
    assert [check.outcome for check in decision.checks] == ["passed", "passed", "too small", "too small"]
    assert sum("too few to decide" in reason for reason in decision.reasons) == 1


def test_many_queries_of_few_episodes_are_few(make_results: MakeResults) -> None:
    episodes = [row % 4 for row in range(40)]
    results = make_results([1] * 40, episodes=episodes)
    assert {check.outcome for check in decide({"test": results}, {"test": results}).checks} == {"too small", "missing"}


def test_without_evidence_the_candidate_is_refused(make_results: MakeResults) -> None:
    small = {"test": make_results([1, 1])}
    decision = decide(small, small)
    assert not decision.passed
    assert decision.reasons[0].startswith("No query set is large enough")


def test_the_first_model_has_nothing_to_lose_against() -> None:
    decision = decide({}, None)
    assert decision.passed
    assert decision.reasons == ["There is no earlier model to compare with: this one is the first."]


def test_the_tolerance_is_what_may_be_lost(make_results: MakeResults) -> None:
    """Every query falls from rank 1 to 2, a certain loss of 0.5 in MRR@30."""
    after, before = {"test": make_results([2] * 20)}, {"test": make_results([1] * 20)}
    assert decide(after, before, tolerance=0.5).passed
    assert not decide(after, before, tolerance=0.49).passed


def test_the_bound_is_one_sided_at_95_per_cent(make_results: MakeResults) -> None:
    ranks = np.random.default_rng(8).integers(1, 4, 400)
    decision = decide({"test": make_results(ranks)}, {"test": make_results(ranks[::-1])})
    difference = 1 / ranks - 1 / ranks[::-1]
    expected = difference.mean() - 1.645 * difference.std() / np.sqrt(400)
    assert decision.checks[0].lower_bound == pytest.approx(expected, abs=0.004)


def test_a_decision_repeats_itself_and_survives_json(make_results: MakeResults) -> None:
    ranks = np.random.default_rng(8).integers(1, 60, 50)
    tables = {"test": make_results(ranks)}, {"test": make_results(ranks[::-1])}
    decision = decide(*tables, seed=4)
    assert decision == decide(*tables, seed=4)
    assert Decision.model_validate_json(decision.model_dump_json()) == decision


def test_reasons_have_the_figures(make_results: MakeResults) -> None:
    reasons = decide({"test": make_results([2] * 20)}, {"test": make_results([1] * 20)}).reasons
    assert reasons[0] == (
        "MRR@30 on 20 test queries went from 1.000 to 0.500 (−0.500); "
        "with 95 % confidence it may be as low as −0.500, and only −0.050 is allowed."
    )


def test_models_measured_on_different_queries_are_not_compared(make_results: MakeResults) -> None:
    with pytest.raises(ValueError, match="different queries"):
        decide({"test": make_results([1] * 9)}, {"test": make_results([1] * 9, text="another")})
