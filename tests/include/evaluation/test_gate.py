from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from benchmarks.gate import MODELS, bound_passes, recorded_ranks, simulate
from include.evaluation.gate import Decision, Overruling, UnexplainedError, decide, overrule

MakeResults = Callable[..., pa.Table]


@pytest.mark.parametrize(
    ("before", "after", "passed", "outcomes"),
    [
        pytest.param([3] * 40, [1] * 40, True, ["passed", "passed"], id="clear win"),
        pytest.param([1] * 40, [3] * 40, False, ["failed", "passed"], id="right episodes sink"),
        pytest.param([3] * 40, [3] * 20 + [90] * 20, False, ["failed", "failed"], id="right episodes are lost"),
        pytest.param([2] * 40, [2] * 40, True, ["passed", "passed"], id="no change"),
        pytest.param([1, 2] * 200, [2, 1] * 195 + [1, 2] * 5, True, ["passed", "passed"], id="noise, many queries"),
        pytest.param([1, 3] * 4, [3, 1] * 4, True, ["passed", "passed"], id="noise, few queries"),
        pytest.param([1] * 7, [1] * 6 + [90], True, ["passed", "passed"], id="one of seven lost: it may be chance"),
        pytest.param([1] * 7, [90] * 7, False, ["failed", "failed"], id="all of seven lost: it is none"),
        pytest.param([1] * 100, [1] * 98 + [2] * 2, True, ["passed", "passed"], id="a loss within the tolerance"),
        pytest.param([1] * 900, [1] * 870 + [90] * 30, True, ["passed", "passed"], id="certain, within the tolerance"),
    ],
)
def test_a_candidate_passes_unless_a_loss_beyond_tolerance_and_chance_is_shown(
    make_results: MakeResults, before: list[int], after: list[int], passed: bool, outcomes: list[str]
) -> None:
    decision = decide({"test": make_results(after)}, {"test": make_results(before)}, reference_version="m1")
    assert decision.passed is passed
    assert [check.outcome for check in decision.checks if check.query_set == "test"] == outcomes
    assert decision.reference == "m1"


def test_played_queries_decide_where_there_are_any_and_are_not_missed_elsewhere(make_results: MakeResults) -> None:
    same = {"test": make_results([2] * 40), "curated": make_results([2] * 40, name="curated")}
    assert {check.query_set for check in decide(same, same).checks} == {"test", "curated"}
    before, after = ({**same, "played": make_results([rank] * 40, name="played")} for rank in (1, 9))
    refused = decide(after, before)
    assert not refused.passed
    assert "MRR@30 on 40 played queries went from 1.000 to 0.111" in " ".join(refused.reasons)
    assert decide(before, after).passed


def test_a_model_that_is_better_by_every_figure_passes_with_few_curated_queries(make_results: MakeResults) -> None:
    """Figures of a real fine-tuning: the bound of one difference was −0.061, and so the better model was refused."""
    tests = [1] * 22 + [3] * 14 + [2, 4, 8] + [60] * 11, [1] * 30 + [3] * 11 + [10, 30] + [60] * 7
    same = [1] * 18 + [2] * 10 + [5] * 9 + [10] + [60] * 7
    curated = [1] * 6 + [5] * 6 + [20, 60, 60, 60, 60, 4], [5] * 6 + [1] * 6 + [40, 3, 5, 10, 20, 2]
    before, after = (
        {"test": make_results(tests[model]), "curated": make_results(same + curated[model], name="curated")}
        for model in (0, 1)
    )

    decision = decide(after, before)

    figures = [
        (check.queries, round(check.reference or 0, 3), round(check.candidate or 0, 3)) for check in decision.checks
    ]
    assert figures == [(50, 0.551, 0.676), (50, 0.78, 0.86), (63, 0.514, 0.528), (63, 0.825, 0.873)]
    change = after["curated"]["mrr@30"].to_numpy() - before["curated"]["mrr@30"].to_numpy()
    assert change.mean() - stats.norm.isf(0.05) * change.std(ddof=1) / np.sqrt(63) == pytest.approx(-0.061, abs=0.002)
    assert not bound_passes(after["curated"], before["curated"]), "the rule that was replaced"
    assert decision.passed
    assert "too few queries to be sure" in decision.reasons[-1]


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
    assert sum("too few for a decision" in reason for reason in decision.reasons) == 1


def test_many_queries_of_few_episodes_are_few(make_results: MakeResults) -> None:
    episodes = [row % 4 for row in range(40)]
    results = make_results([1] * 40, episodes=episodes)
    assert {check.outcome for check in decide({"test": results}, {"test": results}).checks} == {"too small", "missing"}


def test_without_evidence_the_candidate_passes_and_nothing_is_sure(make_results: MakeResults) -> None:
    small = {"test": make_results([1, 1])}
    decision = decide(small, small)
    assert decision.passed
    assert (decision.power, decision.is_sure) == (0.0, False)


@pytest.mark.parametrize(("queries", "sure"), [(7, False), (63, False), (150, True), (500, True)])
def test_enough_queries_are_what_shows_a_loss_of_twice_the_tolerance(
    make_results: MakeResults, queries: int, sure: bool
) -> None:
    """By hand: a tenth of the queries loses its episode, so a difference has a deviation of 0.3 or a little more.

    Of 150 queries the mean has an error of 0.0245: 0.05 is 2.04 of those, and 0.1 is as far again. Of 63 it has one of
    0.038, and chance alone gives 0.076. With 1.96 for chance and 1.645 for certainty, (0.3 * 3.6 / 0.1)² are enough.
    """
    same = {"test": make_results([1, 5] * (queries // 2) + [1] * (queries % 2))}
    decision = decide(same, same)
    assert decision.is_sure is sure
    assert ("too few queries to be sure" in decision.reasons[-1]) is not sure
    assert decision.checks[1].queries_needed == 117


def test_what_is_too_few_says_how_many_are_enough(make_results: MakeResults) -> None:
    same = {"test": make_results([1] * 63)}
    assert re.search(
        r"would show a loss of 0\.100 in \d+ % of cases; about \d+ queries for different episodes would be enough\.$",
        decide(same, same).reasons[-1],
    )


def test_queries_of_one_set_are_enough_where_those_of_the_other_are_not(make_results: MakeResults) -> None:
    same = {"test": make_results([1] * 500), "curated": make_results([1] * 7, name="curated")}
    assert decide(same, same).is_sure


def test_the_checks_share_the_chance_of_a_false_refusal(make_results: MakeResults) -> None:
    """Four checks at 5 % each would refuse one in seven good models."""
    rng = np.random.default_rng(3)
    first, second = rng.integers(1, 60, 40), rng.integers(1, 60, 40)
    alone = decide({"test": make_results(first)}, {"test": make_results(second)})
    both = decide(
        {"test": make_results(first), "curated": make_results(first, name="curated")},
        {"test": make_results(second), "curated": make_results(second, name="curated")},
    )
    change = 1.0 * (first <= 30) - (second <= 30)
    error = change.std(ddof=1) / np.sqrt(40)
    assert alone.checks[1].largest_allowed == pytest.approx(stats.t.isf(0.05 / 2, 39) * error)
    assert both.checks[1].largest_allowed == pytest.approx(stats.t.isf(0.05 / 4, 39) * error)


@pytest.mark.parametrize("queries", [7, 20, 63, 150, 500])
def test_simulated_models_are_judged_right(queries: int) -> None:
    """What docs/gate.md says, by fewer draws."""
    recorded, sizes = recorded_ranks(), {"curated": queries}
    shares = {name: simulate(recorded, sizes, draw, draws=150, seed=1) for name, draw in MODELS.items()}
    assert shares["equal"]["passed"] >= 0.90
    assert shares["better"]["passed"] >= 0.95
    if queries == 500:
        assert shares["worse"]["enough_queries"] > 0.9
        assert shares["worse"]["passed"] <= 0.05


def test_a_person_may_decide_otherwise_and_says_why(make_results: MakeResults) -> None:
    lost = decide({"test": make_results([9] * 40)}, {"test": make_results([1] * 40)})
    accepted = overrule(lost, "accept", reason=" we know about it ", by="Ada")
    assert (lost.passed, accepted.passed) == (False, True)
    assert accepted.overruled == Overruling(verdict="accept", reason="we know about it", by="Ada")
    assert accepted.reasons == ["Ada decided that the model is accepted: we know about it", *lost.reasons]
    assert not overrule(accepted, "refuse", reason="no", by=None).passed
    with pytest.raises(UnexplainedError, match="Give a reason why"):
        overrule(lost, "accept", reason=" ", by="Ada")


def test_the_tolerance_is_what_may_be_lost(make_results: MakeResults) -> None:
    """Every query falls from rank 1 to 2, a certain loss of 0.5 in MRR@30."""
    after, before = {"test": make_results([2] * 20)}, {"test": make_results([1] * 20)}
    assert decide(after, before, tolerance=0.5).passed
    assert not decide(after, before, tolerance=0.49).passed


def test_queries_of_one_episode_count_together(make_results: MakeResults) -> None:
    """Each asked three times, they tell no more than asked once."""
    first, second = np.random.default_rng(8).integers(1, 60, (2, 50))
    once = decide({"test": make_results(first)}, {"test": make_results(second)})
    episodes = np.repeat(np.arange(50), 3)
    thrice = decide(
        {"test": make_results(np.repeat(first, 3), episodes=episodes)},
        {"test": make_results(np.repeat(second, 3), episodes=episodes)},
    )
    assert once.checks[0].largest_allowed == pytest.approx(thrice.checks[0].largest_allowed)
    assert once.power == pytest.approx(thrice.power)


def test_a_decision_survives_json(make_results: MakeResults) -> None:
    ranks = np.random.default_rng(8).integers(1, 60, 50)
    decision = decide({"test": make_results(ranks)}, {"test": make_results(ranks[::-1])})
    assert Decision.model_validate_json(decision.model_dump_json()) == decision


def test_reasons_have_the_figures(make_results: MakeResults) -> None:
    reasons = decide({"test": make_results([2] * 20)}, {"test": make_results([1] * 20)}).reasons
    assert reasons[0] == (
        "MRR@30 on 20 test queries went from 1.000 to 0.500 (−0.500): a loss of more than 0.050 counts as shown."
    )


def test_models_measured_on_different_queries_are_not_compared(make_results: MakeResults) -> None:
    with pytest.raises(ValueError, match="different queries"):
        decide({"test": make_results([1] * 9)}, {"test": make_results([1] * 9, text="another")})
