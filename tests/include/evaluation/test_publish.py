"""The report of a re-index: what a small model finds, from the evaluation to the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.evaluation.comparison import ModelComparison, keep_decision
from include.evaluation.gate import Decision, Verdict, overrule
from include.evaluation.metrics import MEASURES
from include.evaluation.publish import approved_by, publish_report
from include.evaluation.report import ReportData
from include.evaluation.run import evaluate_model, plan_evaluation
from include.index.approval import keep_approval
from include.index.live import require_live
from include.index.plan import plan_reindex
from include.index.write import Verification
from include.retriever.encoders.opening import open_encoder
from include.retriever.registry import ensure_base
from include.storage import ArtifactStore
from tests.include.search.catalogue import make_live
from tests.models import build_model

CURATED = """query,episode_ids,grades
tomato garden,e0020|e0021|e0000,1|2|0
rocket moon,e0010,
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportData, str]:
    """Data and page."""
    home = make_live(tmp_path_factory.mktemp("publish"))
    store, curated = ArtifactStore(home / "artifacts"), home / "curated.csv"
    curated.write_text(CURATED)
    live = require_live(store)
    evaluation = plan_evaluation(
        store,
        snapshot_id=live.snapshot_id,
        training_id=None,
        curated_path=curated,
        catalogue_size=100,
        max_queries=100,
        seed=0,
        hybrid_weight=0.5,
    )
    other = ensure_base(store, str(build_model(home / "other", seed=8)), "cpu")
    for version in (live.model_version, other.version):
        evaluate_model(store, evaluation, open_encoder(store, version, "cpu", engine="torch"), version)
    comparison = ModelComparison(
        comparison_id="c",
        evaluation_id=evaluation.evaluation_id,
        base=live.model_version,
        live=live.model_version,
        candidate=other.version,
    )
    path = publish_report(
        store,
        plan=plan_reindex(store, model_version=live.model_version, live=live),
        comparison=comparison,
        evaluation=evaluation,
        live=live,
        backend="lancedb",
        verification=Verification(
            namespace=live.namespace, snapshot_id=live.snapshot_id, rows=15, sampled=15, kind="exact"
        ),
        timings={},
    )
    folder = path.removesuffix("/index.html")
    return ReportData.model_validate(store.read_json(f"{folder}/report.json")), store.read_bytes(path).decode()


def test_each_query_set_is_sliced(report: tuple[ReportData, str]) -> None:
    """Two queries are too few for any slice; but the language of what they ask for is found."""
    languages = {one.heading: one.few for one in report[0].slices["curated"]}["Language"]
    assert languages == {"English": 1, "German": 1}
    assert "each part has fewer than 10 queries" in report[1]


def test_how_much_was_judged_is_measured_and_shown(report: tuple[ReportData, str]) -> None:
    (curated,) = [one for one in report[0].evaluations["base"] if one.query_set == "curated"]
    assert curated.judged
    assert 0.05 <= curated.judged <= 0.2
    assert "of the first ten results" in report[1]


def test_the_worst_queries_show_the_ranks_of_either_side(report: tuple[ReportData, str]) -> None:
    """One asks for an episode of another topic, which has none of its words."""
    worst = report[0].worst
    assert worst
    assert worst.query_set == "curated"
    one = worst.queries[0]
    assert one.query == "rocket moon"
    assert one.lexical is None
    assert 1 < one.dense <= 15
    assert 1 < one.rank <= 16
    assert one.first
    assert one.first.show_title != one.wanted.show_title
    assert "over 100" in report[1]


@pytest.mark.parametrize(
    ("verdict", "by", "deletions", "named"),
    [
        ("accept", "mia", None, "mia"),
        ("accept", "mia", "ben", "mia and ben"),
        ("accept", "mia", "mia", "mia"),
        ("accept", None, "ben", "ben"),
        ("refuse", "mia", None, None),
        (None, None, "ben", "ben"),
        (None, None, None, None),
    ],
)
def test_whoever_let_it_go_live_is_named(
    tmp_path: Path, verdict: Verdict | None, by: str | None, deletions: str | None, named: str | None
) -> None:
    store = ArtifactStore(tmp_path)
    decision = Decision(passed=verdict is None, tolerance=0, reasons=[])
    if verdict:
        decision = overrule(decision, verdict, reason="because", by=by)
    comparison = ModelComparison(comparison_id="c", evaluation_id="e", base="m0", live=None, candidate="m1")
    keep_decision(store, comparison, decision)
    keep_approval(store, "p", deletions)
    assert approved_by(store, comparison_id="c", plan_id="p") == named
    assert approved_by(store, comparison_id="other", plan_id="older") is None


def test_each_set_has_the_change_of_its_vectors_alone(report: tuple[ReportData, str]) -> None:
    """The mean of the differences is the difference of the means, which the evaluations have."""
    data, page = report
    (one,) = data.comparisons
    before, after = (data.evaluations[role][0].sides for role in ("base", "candidate"))
    assert before["lexical"] == after["lexical"]
    assert before["dense"] != after["dense"]
    for metric in MEASURES:
        assert one.dense[metric].mean == pytest.approx(after["dense"][metric].mean - before["dense"][metric].mean)
    assert "change from base model" in page
