"""What the report says of where a change comes from; nothing that an interval does not show."""

from __future__ import annotations

import numpy as np
import pytest

from include.evaluation.metrics import Interval, differences, evaluate
from include.evaluation.queries import QuerySet
from include.evaluation.sides import Change, brought

BETTER = Interval(mean=0.03, low=0.01, high=0.05)
WORSE = Interval(mean=-0.03, low=-0.05, high=-0.01)
UNSEEN = Interval(mean=0.03, low=-0.01, high=0.07)
EXACTLY_ZERO = Interval(mean=0.0, low=0.0, high=0.0)
TOUCHING = Interval(mean=0.02, low=0.0, high=0.04)
ONE_QUERY = Interval(mean=0.5)


@pytest.mark.parametrize(
    ("together", "dense", "said"),
    [
        (
            BETTER,
            BETTER,
            "Vectors brought the gain: MRR@30 of test queries +0.030 (+0.010 to +0.050) together, "
            "+0.030 (+0.010 to +0.050) by vectors alone; words are the same for both models.",
        ),
        (
            WORSE,
            WORSE,
            "Vectors brought the loss: MRR@30 of test queries −0.030 (−0.050 to −0.010) together, "
            "−0.030 (−0.050 to −0.010) by vectors alone; words are the same for both models.",
        ),
        (
            BETTER,
            UNSEEN,
            "Fusion brought the gain; vectors alone show no change: MRR@30 of test queries "
            "+0.030 (+0.010 to +0.050) together, +0.030 (−0.010 to +0.070) by vectors alone; "
            "words are the same for both models.",
        ),
        (
            WORSE,
            BETTER,
            "Fusion brought the loss, against the vectors: MRR@30 of test queries −0.030 (−0.050 to −0.010) together, "
            "+0.030 (+0.010 to +0.050) by vectors alone; words are the same for both models.",
        ),
        (
            UNSEEN,
            BETTER,
            "Vectors alone are shown to be better, but not together with words: MRR@30 of test queries "
            "+0.030 (+0.010 to +0.050) by vectors alone, +0.030 (−0.010 to +0.070) together; "
            "words are the same for both models.",
        ),
        (
            EXACTLY_ZERO,
            WORSE,
            "Vectors alone are shown to be worse, but not together with words: MRR@30 of test queries "
            "−0.030 (−0.050 to −0.010) by vectors alone, +0.000 (+0.000 to +0.000) together; "
            "words are the same for both models.",
        ),
    ],
)
def test_the_side_is_named_with_its_figures(together: Interval, dense: Interval, said: str) -> None:
    assert brought([Change("MRR@30 of test queries", together, dense)]) == said


@pytest.mark.parametrize("unseen", [UNSEEN, EXACTLY_ZERO, TOUCHING, ONE_QUERY])
def test_no_side_is_named_where_no_interval_excludes_zero(unseen: Interval) -> None:
    """Nor for one query alone, whose mean has no interval, however large."""
    said = brought([Change("a", unseen, unseen), Change("b", UNSEEN, TOUCHING)])
    assert said == (
        "Neither side is shown to have changed anything: vectors alone show no change either, and words are the same "
        "for both models."
    )


def test_a_gain_does_not_hide_a_loss() -> None:
    """Each direction is told once, by the first that shows it."""
    said = brought(
        [
            Change("none", UNSEEN, BETTER),
            Change("first gain", BETTER, BETTER),
            Change("second gain", BETTER, UNSEEN),
            Change("loss", WORSE, UNSEEN),
        ]
    )
    gain, loss = said.split(" models. ")
    assert gain.startswith("Vectors brought the gain: first gain +0.030")
    assert loss.startswith("Fusion brought the loss; vectors alone show no change: loss −0.030")


def test_nothing_is_said_where_sides_were_not_measured() -> None:
    assert brought([]) == ""


def test_better_vectors_beside_the_same_words_are_found_by_measuring() -> None:
    """Twenty queries whose own episodes the new vectors put first, and the old ones last; words know none of them."""
    ids = [f"e{row:02d}" for row in range(20)]
    catalogue = np.eye(20, dtype=np.float32)
    query_set = QuerySet("test", [f"query {row}" for row in range(20)], [[key] for key in ids], ["title"] * 20)
    new = catalogue
    old = (1 - catalogue) / np.sqrt(19, dtype=np.float32)
    before, after = (
        evaluate(
            query_set,
            model_version="m",
            queries=queries,
            catalogue=catalogue,
            ids=ids,
            lexical=[[]] * 20,
            weight=0.5,
        )
        for queries in (old, new)
    )
    together, dense = differences(after.results, before.results), differences(after.dense, before.dense)
    said = brought([Change("MRR@30", together["mrr@30"], dense["mrr@30"])])
    assert said.startswith("Vectors brought the gain: MRR@30 +0.950 (+0.950 to +0.950) together, +0.950 ")
