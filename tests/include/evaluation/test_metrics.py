from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import ir_measures
import numpy as np
import pyarrow as pa
import pytest
from ir_measures import RR, R, nDCG

from include.evaluation.metrics import (
    MEASURES,
    RESULTS,
    ModelEvaluation,
    bucket_ranks,
    differences,
    evaluate,
    interval,
    per_query,
    summarise,
)
from include.evaluation.queries import QuerySet, load_curated

MakeResults = Callable[..., pa.Table]


def results_of(ids: list[list[str]], relevant: list[list[str]]) -> dict[str, list[float]]:
    size = len(ids)
    query_set = QuerySet("curated", [f"q{row}" for row in range(size)], relevant, ["curated"] * size)
    table = per_query(query_set, ids, np.ones(size, np.int64))
    assert table.schema == RESULTS
    return {name: table[name].to_pylist() for name in MEASURES}


def test_measures_of_a_query_with_one_answer() -> None:
    others = [f"x{number}" for number in range(40)]
    found = results_of(
        [
            ["a", *others],
            [*others[:2], "a", *others[2:]],
            [*others[:29], "a", *others[29:]],
            [*others[:30], "a", *others[30:]],
        ],
        [["a"]] * 4,
    )
    assert found["recall@1"] == [1, 0, 0, 0]
    assert found["recall@30"] == [1, 1, 1, 0]
    assert found["mrr@30"] == pytest.approx([1, 1 / 3, 1 / 30, 0])
    assert found["ndcg@10"] == pytest.approx([1, 1 / math.log2(4), 0, 0])


def test_measures_of_a_query_with_several_answers() -> None:
    """Recall is a share of all answers, the reciprocal rank that of the first, nDCG weighs each by its place."""
    found = results_of([["x", "a", "y", "b", *(f"z{number}" for number in range(40)), "c"]], [["a", "b", "c"]])
    assert found["recall@1"] == [0]
    assert found["recall@30"] == pytest.approx([2 / 3])
    assert found["mrr@30"] == [0.5]
    best = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found["ndcg@10"] == pytest.approx([(1 / math.log2(3) + 1 / math.log2(5)) / best])


def test_measures_follow_the_ranking_and_not_the_order_of_ids() -> None:
    """The providers break ties by id, each in another direction; the ranking has decided already."""
    assert results_of([["b", "a"], ["a", "b"]], [["a"], ["a"]])["mrr@30"] == [0.5, 1]


def test_a_query_that_finds_nothing_counts_as_zero() -> None:
    assert {tuple(values) for values in results_of([["x", "y"]], [["a"]]).values()} == {(0.0,)}


def test_evaluate_holds_the_query_out_of_its_target() -> None:
    catalogue = np.eye(3, dtype=np.float32)
    query_set = QuerySet("test", ["q"], [["a"]], ["title"], positives=["text without the title"])
    evaluation, results, dense = evaluate(
        query_set,
        model_version="m1",
        queries=catalogue[:1],
        catalogue=catalogue,
        ids=["a", "b", "c"],
        positives=np.array([[-1, 0, 0]], np.float32),
    )
    assert results.equals(dense), "words were not asked"
    assert results["top"].to_pylist() == [["b", "c", "a"]]
    assert results["rank"].to_pylist() == [3]
    assert evaluation.metrics["mrr@30"].mean == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="vectors of the positives"):
        evaluate(query_set, model_version="m1", queries=catalogue[:1], catalogue=catalogue, ids=["a", "b", "c"])


def test_what_is_measured_is_what_search_gives_by_both_sides() -> None:
    """The first query's episode is found by words alone, the second's by vectors alone, the third's by neither."""
    catalogue = np.eye(4, dtype=np.float32)
    ids = ["a", "b", "c", "d"]
    near = np.array([[0, 0.8, 0.6, 0], [0, 0.8, 0.6, 0], [0.8, 0.6, 0, 0]], np.float32)
    query_set = QuerySet("curated", ["one", "two", "three"], [["a"], ["b"], ["d"]], ["curated"] * 3)
    words = [[("a", 9.0), ("d", 3.0)], [], [("c", 2.0)]]
    measured = evaluate(
        query_set, model_version="m1", queries=near, catalogue=catalogue, ids=ids, lexical=words, weight=0.4
    )
    assert measured.results["top"].to_pylist()[0] == ["a", "b", "c", "d"]
    assert measured.results["rank"].to_pylist() == [1, 1, 4]
    assert measured.dense["rank"].to_pylist() == [3, 1, 4]
    sides = measured.summary.sides
    assert sides["lexical"]["recall@1"].mean == pytest.approx(1 / 3)
    assert sides["dense"]["recall@1"].mean == pytest.approx(1 / 3)
    assert measured.summary.metrics["recall@1"].mean == pytest.approx(2 / 3)


def test_a_rank_is_never_better_than_what_is_known_of_it() -> None:
    """What neither side has among its first stands behind both, and no higher than its vector does."""
    catalogue = np.eye(200, dtype=np.float32)
    ids = [f"e{number:03d}" for number in range(200)]
    query = np.linspace(1, 0.1, 200, dtype=np.float32)[None]
    query /= np.linalg.norm(query)
    query_set = QuerySet("curated", ["q"], [["e180"]], ["curated"])
    words = [[(f"e{number:03d}", 1.0) for number in range(100, 110)]]
    measured = evaluate(
        query_set, model_version="m1", queries=query, catalogue=catalogue, ids=ids, lexical=words, weight=0.5
    )
    assert measured.results["rank"].to_pylist() == [181]


def test_grades_weigh_in_ndcg_alone() -> None:
    """An answer in part is an answer to all other measures; one of grade 0 is none to any."""
    query_set = QuerySet("curated", ["q"], [["a", "b"]], ["curated"], judged=[{"b": 1, "a": 2, "x": 0}])
    (row,) = per_query(query_set, [["x", "b", "a"]], np.array([2])).to_pylist()
    discounts = [1 / math.log2(place + 1) for place in (1, 2, 3)]
    assert row["ndcg@10"] == pytest.approx((1 * discounts[1] + 2 * discounts[2]) / (2 * discounts[0] + discounts[1]))
    assert (row["recall@1"], row["recall@30"], row["mrr@30"]) == (0, 1, 0.5)


def test_without_grades_every_figure_is_as_if_answers_were_right_or_wrong(tmp_path: Path) -> None:
    file = tmp_path / "curated.csv"
    file.write_text("query,episode_ids\none,a|b\ntwo,c\nthree,d|e|f\n")
    query_set = load_curated(file, set("abcdef")).query_set
    answers = [["x", "a", "b"], ["x", "y"], ["e", "x", "d", "y", "f"]]
    results = per_query(query_set, answers, np.array([2, 9, 1]))
    measures = {R @ 1: "recall@1", R @ 30: "recall@30", RR @ 30: "mrr@30", nDCG @ 10: "ndcg@10"}
    binary = {str(row): dict.fromkeys(ids, 1) for row, ids in enumerate(query_set.relevant)}
    run = {str(row): {key: -float(place) for place, key in enumerate(ids)} for row, ids in enumerate(answers)}
    for found in ir_measures.iter_calc(list(measures), binary, run):
        assert results[measures[found.measure]][int(found.query_id)].as_py() == found.value, found


def test_how_many_of_the_first_ten_were_judged_is_known_of_curated_queries() -> None:
    catalogue = np.eye(12, dtype=np.float32)
    ids = [f"e{number:02d}" for number in range(12)]
    queries = np.linspace(1, 0.1, 12, dtype=np.float32)[None].repeat(2, axis=0)
    queries /= np.linalg.norm(queries[0])
    judged = [{"e00": 2, "e03": 0, "e11": 0}, {"e01": 1}]
    asked = QuerySet("curated", ["q", "r"], [["e00"], ["e01"]], ["curated"] * 2, judged=judged)
    words = [[("e11", 9.0)], []]
    for lexical, share in ((None, (2 + 1) / 20), (words, (3 + 1) / 20)):
        measured = evaluate(
            asked, model_version="m", queries=queries, catalogue=catalogue, ids=ids, lexical=lexical, weight=0.4
        )
        assert measured.summary.judged == pytest.approx(share)
    known = QuerySet("known", ["q"], [["e00"]], ["half"])
    measured = evaluate(known, model_version="m", queries=queries[:1], catalogue=catalogue, ids=ids)
    assert measured.summary.judged is None


def test_summary_has_means_intervals_and_counts_and_survives_json(make_results: MakeResults) -> None:
    evaluation = summarise(make_results([1, 2, 4, 1, 150, 31, 12, 3, 2, 1]), model_version="m1", catalogue=200)
    mean = (1 + 1 / 2 + 1 / 4 + 1 + 0 + 0 + 1 / 12 + 1 / 3 + 1 / 2 + 1) / 10
    value = evaluation.metrics["mrr@30"]
    assert value.mean == pytest.approx(mean)
    assert value.low is not None
    assert value.high is not None
    assert 0 < value.low < value.mean < value.high < 1
    assert evaluation.metrics["recall@30"].mean == pytest.approx(0.8)
    assert evaluation.ranks == {"1": 3, "2–3": 3, "4–10": 1, "11–30": 1, "31–100": 1, "over 100": 1}
    assert ModelEvaluation.model_validate_json(evaluation.model_dump_json()) == evaluation


def test_intervals_are_reproducible_and_near_those_of_theory() -> None:
    values = np.random.default_rng(3).random(400)
    found = interval(values, np.arange(400), seed=9)
    assert found == interval(values, np.arange(400), seed=9)
    error = 1.96 * values.std() / math.sqrt(400)
    assert found.low == pytest.approx(values.mean() - error, abs=0.004)
    assert found.high == pytest.approx(values.mean() + error, abs=0.004)


def test_queries_of_one_episode_do_not_pass_for_independent_ones() -> None:
    """Four copies of each query tell no more than one: the interval must not shrink to half."""
    values = np.random.default_rng(4).random(60)
    once = interval(values, np.arange(60))
    copied = interval(np.repeat(values, 4), np.repeat(np.arange(60), 4))
    assert once.low == pytest.approx(copied.low)
    assert once.high == pytest.approx(copied.high)


def test_one_query_has_a_mean_and_no_interval(make_results: MakeResults) -> None:
    value = summarise(make_results([2]), model_version="m", catalogue=200).metrics["mrr@30"]
    assert (value.mean, value.low, value.high) == (0.5, None, None)


def test_differences_are_paired(make_results: MakeResults) -> None:
    """Where every query gains the same the difference is certain, however much the queries differ among themselves."""
    found = differences(make_results([1] * 6), make_results([2] * 6))
    assert found["mrr@30"].model_dump() == {"mean": 0.5, "low": 0.5, "high": 0.5}
    assert found["recall@30"].mean == 0
    with pytest.raises(ValueError, match="different queries"):
        differences(make_results([1] * 6), make_results([1] * 6, text="another"))


def test_results_of_no_query_cannot_be_summarised(make_results: MakeResults) -> None:
    with pytest.raises(ValueError, match="one query set"):
        summarise(make_results([1]).slice(1), model_version="m", catalogue=3)


def test_every_rank_falls_in_one_bucket() -> None:
    assert list(bucket_ranks([1, 2, 3, 4, 10, 11, 30, 31, 100, 101, 9999]).values()) == [1, 2, 2, 2, 2, 2]
