from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from selectolax.lexbor import LexborHTMLParser as HTMLParser

from include.devices.usage import Usage
from include.evaluation.examples import EpisodeLabel, Example, ExampleChoice, Hit
from include.evaluation.gate import Decision, decide
from include.evaluation.metrics import MEASURES, Interval, ModelEvaluation, differences, summarise
from include.evaluation.report import (
    Comparison,
    Corpus,
    IndexCheck,
    IndexPlan,
    ReportData,
    Versions,
    headline,
    render,
)
from include.evaluation.slices import Slice, Slices
from include.evaluation.training_run import TrainingRun
from include.evaluation.worst import WorstQueries, WorstQuery
from include.queries.samples import QuerySample

MakeResults = Callable[..., pa.Table]
NOW = datetime(2026, 3, 4, 2, 47, tzinfo=UTC)
MINIMAL = ReportData(run_id="manual__1", created_at=NOW)
ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"


def evaluation(recall: float, *, query_set: str = "curated", version: str = "m") -> ModelEvaluation:
    metrics = {name: Interval(mean=recall, low=recall - 0.01, high=recall + 0.01) for name in ("recall@30", "mrr@30")}
    return ModelEvaluation(model_version=version, query_set=query_set, queries=50, catalogue=900, metrics=metrics)


def change(difference: float, *, query_set: str = "curated", reference: str = "live") -> Comparison:
    value = Interval(mean=difference, low=difference - 0.02, high=difference + 0.02)
    return Comparison.model_validate(
        {"query_set": query_set, "reference": reference, "differences": {"recall@30": value, "mrr@30": value}}
    )


def test_played_queries_are_explained_where_there_are_any_and_not_missed_elsewhere() -> None:
    played = MINIMAL.model_copy(update={"evaluations": {"live": [evaluation(0.5, query_set="played")]}})
    text = HTMLParser(render(played)).text()
    assert "that listeners typed before they played an episode" in " ".join(text.split())
    assert "so these queries favour it" in text
    assert "played" not in render(compared(0.5, 0.6)).lower()


def compared(before: float, after: float) -> ReportData:
    return MINIMAL.model_copy(
        update={
            "evaluations": {"live": [evaluation(before)], "candidate": [evaluation(after)]},
            "comparisons": [change(after - before)],
        }
    )


@pytest.fixture
def full(make_results: MakeResults) -> ReportData:
    """A report in which every part is there, and every text in it is hostile."""
    tables = {
        role: make_results([rank + place for rank in range(1, 13)], text=ATTACK)
        for place, role in enumerate(("candidate", "live", "base"))
    }
    summaries = {role: summarise(table, model_version=ATTACK, catalogue=200) for role, table in tables.items()}
    for summary in summaries.values():
        summary.judged = 0.375
    part = Slice(name=ATTACK, queries=12, metrics=dict.fromkeys(MEASURES, 0.5))
    label = EpisodeLabel(ATTACK, ATTACK)
    worst = WorstQuery(query=ATTACK, wanted=label, others=3, first=label, dense=1234, lexical=None, rank=987)
    decision = decide({"test": tables["candidate"]}, {"test": tables["live"]}, reference_version=ATTACK)
    hits = [Hit(rank=1, title=ATTACK, show_title=ATTACK, relevant=True)]
    example = Example(
        query_set="test",
        origin=ATTACK,
        query=ATTACK,
        outcome="worse",
        wanted=ATTACK,
        rank_before=1,
        rank_after=2,
        before=hits,
        after=hits,
    )
    return ReportData.model_validate(
        {
            "run_id": ATTACK,
            "created_at": NOW,
            "evaluations": {role: [summary] for role, summary in summaries.items()},
            "comparisons": [
                Comparison(
                    query_set="test", reference="live", differences=differences(tables["candidate"], tables["live"])
                )
            ],
            "decision": decision.model_copy(update={"reasons": [ATTACK]}),
            "training": TrainingRun(
                base_model=ATTACK,
                settings={ATTACK: ATTACK},
                pairs_by_origin={ATTACK: 5},
                losses=[(0, 2.0), (1, math.nan), (2, 1.0)],
                evaluations=[(1, 0.5), (2, 0.75)],
                queries_dropped={ATTACK: 4, "wrong_language": 3},
                samples=[QuerySample(title=ATTACK, query=ATTACK, origin=ATTACK)],
                device=Usage(device="cuda", names=[ATTACK], gpus=2, gpu_seconds=90.0, memory_peak_bytes=2**33),
            ),
            "plan": IndexPlan(kind="difference", added=1231, changed=200, removed=100, embedded=1400),
            "index_check": IndexCheck(kind=ATTACK, vectors=10, queries=5, k=30, recall=0.987),
            "corpus": Corpus(episodes=10, shows=2, languages={ATTACK: 7}, quarantined={ATTACK: 3}),
            "examples": ExampleChoice(examples=[example], totals={"improved": 1, "worse": 2, "unchanged": 3}),
            "slices": {"test": [Slices(by="language", heading="Language", slices=[part], few={ATTACK: 9})]},
            "worst": WorstQueries(query_set="curated", queries=[worst]),
            "versions": Versions(**dict.fromkeys(Versions.model_fields, ATTACK)),
            "timings": {ATTACK: 12.3},
        }
    )


def text_of(page: str) -> str:
    return " ".join(HTMLParser(page).body.text(separator=" ").split())  # type: ignore[union-attr]


def text_at(page: str, selector: str) -> str:
    node = HTMLParser(page).css_first(selector)
    assert node is not None
    return node.text()


def resources(page: str) -> Iterator[str]:
    """All that a page would load: attributes that name a resource, and those of its styles."""
    for node in HTMLParser(page).css("*"):
        for name in ("src", "srcset", "href", "xlink:href", "data", "poster", "action"):
            if value := node.attributes.get(name):
                yield value
    yield from re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", page)


def test_every_text_is_escaped(full: ReportData) -> None:
    """The page is shown inside the user's session: a title must never become markup, nor a template."""
    page = render(full)
    tree = HTMLParser(page)
    assert not tree.css("script, img, iframe, object, embed, link, base, form")
    assert not [node for node in tree.css("*") for name in node.attributes if name.startswith("on")]
    assert "alert(1)" in text_of(page)
    assert "{{ 7 * 7 }}" in text_of(page)


def test_no_text_goes_missing(full: ReportData) -> None:
    """Each hostile text is there to read, so the test above has seen each of them."""
    shown = text_of(render(full)).count("alert(2)")
    texts = str(full.model_dump(mode="json", exclude={"comparisons"})).count("alert(2)")
    model_versions_not_shown_twice, origin_of_others = 3, 2
    assert shown >= texts - model_versions_not_shown_twice - origin_of_others


def test_the_page_loads_nothing(full: ReportData) -> None:
    page = render(full)
    assert [value for value in resources(page) if not value.startswith("#")] == []
    policy = HTMLParser(page).css_first('meta[http-equiv="Content-Security-Policy"]')
    assert policy is not None
    assert policy.attributes["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_full_page_has_every_part(full: ReportData) -> None:
    text = text_of(render(full))
    assert not re.search(r"\b(nan|inf|None|undefined)\b", text, re.IGNORECASE)
    judged, worst = ("37.5 %", "fewer than 10 queries"), ("or 3 others", "1,234", "over 100", "987")
    others = (
        "1,231",
        "0.987",
        "improved",
        "right episode",
        "12 s",
        "Loss allowed",
        "Snapshot",
        "Recall@30",
        "In-batch MRR@5",
    )
    for part in (*judged, *worst, *others):
        assert part in text
    assert len(HTMLParser(render(full)).css("svg[role=img][aria-label]")) == 4


def test_a_run_with_nothing_still_has_a_page_that_says_so() -> None:
    page = render(MINIMAL)
    text = text_of(page)
    assert "This run measured nothing." in text
    assert len(HTMLParser(page).css(".empty")) == 10
    assert not re.search(r"\b(nan|None|undefined)\b", text)


def test_a_first_index_without_curated_queries(make_results: MakeResults) -> None:
    """The base model alone: no before, no training, and curated queries that ask for other episodes."""
    summary = summarise(make_results([1, 2, 40]), model_version="base", catalogue=200)
    data = MINIMAL.model_copy(update={"evaluations": {"base": [summary]}, "curated_left_out": 12})
    text = text_of(render(data))
    assert "Of the episodes that test queries ask for, 67\xa0% are" in text_at(render(data), "h1")
    assert "There are no curated queries for this catalogue. The 12 that were written" in text
    assert "This run trained nothing" in text


def test_a_slicing_of_small_slices_alone_is_said_and_has_no_table(full: ReportData) -> None:
    slices = Slices(by="the length of the query", heading="Query", slices=[], few={"1–3 words": 9, "4–7 words": 3})
    page = render(full.model_copy(update={"slices": {"test": [slices]}}))
    assert not HTMLParser(page).css('[aria-label*="by the length of the query"]')
    said = "By the length of the query, each part has fewer than 10 queries: 1–3 words (9), 4–7 words (3)."
    assert said in text_of(page)


def test_a_set_that_was_answered_at_once_has_no_worst_queries(full: ReportData) -> None:
    page = render(full.model_copy(update={"worst": WorstQueries(query_set="curated", queries=[])}))
    assert "All curated queries have a right episode as their first result." in text_of(page)
    assert not HTMLParser(page).css("table.worst")


def test_one_query_alone_shows_no_interval(make_results: MakeResults) -> None:
    summary = summarise(make_results([2]), model_version="m", catalogue=200)
    page = render(MINIMAL.model_copy(update={"evaluations": {"base": [summary]}}))
    assert not HTMLParser(page).css(".interval")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0.29, 0.57, "Search got better"),
        (0.57, 0.29, "Search got worse"),
        (0.50, 0.51, "Search is about as good as before"),
    ],
)
def test_the_headline_says_whether_search_got_better(before: float, after: float, expected: str) -> None:
    """Better or worse is said only of a change whose interval excludes zero."""
    said = headline(compared(before, after))
    assert said.startswith(expected + ": of the episodes that curated queries ask for")
    assert said.endswith(f"{after:.0%} are among the first 30 results; before, {before:.0%}.".replace("%", "\xa0%"))


def test_the_headline_speaks_of_what_changed() -> None:
    """Where Recall@30 stood still, a sentence about it would not support the verdict."""
    data = compared(0.5, 0.6)
    data.comparisons[0].differences["recall@30"] = Interval(mean=0.0, low=-0.1, high=0.1)
    assert headline(data) == (
        "Search got better: right episodes rank higher in the results of curated queries (MRR@30 0.60; before, 0.50)."
    )


def test_the_headline_hides_no_loss() -> None:
    data = compared(0.5, 0.6)
    data.evaluations["live"].append(evaluation(0.9, query_set="test"))
    data.evaluations["candidate"].append(evaluation(0.8, query_set="test"))
    data.comparisons.append(change(-0.1, query_set="test"))
    assert headline(data).startswith("Search got better in one way and worse in another")


def test_a_live_model_measured_beside_the_base_model_is_no_change() -> None:
    """After new episodes the live model is measured anew; the base model is context, not what it replaced."""
    data = MINIMAL.model_copy(update={"evaluations": {"base": [evaluation(0.3)], "live": [evaluation(0.6)]}})
    assert headline(data).startswith("Of the episodes that curated queries ask for, 60")


def test_a_candidate_without_a_live_model_is_set_against_the_base_model() -> None:
    data = MINIMAL.model_copy(
        update={
            "evaluations": {"base": [evaluation(0.3)], "candidate": [evaluation(0.6)]},
            "comparisons": [change(0.3, reference="base")],
        }
    )
    assert headline(data).endswith("with the base model, 30\xa0%.")


def decided(*, dense: float | None, reference: str = "live") -> str:
    """What the top of a page says of a candidate that is 0.1 better together, and so much by vectors alone."""
    one = change(0.1, reference=reference)
    if dense is not None:
        one.dense = change(dense).differences
    page = render(
        MINIMAL.model_copy(
            update={
                "evaluations": {reference: [evaluation(0.5)], "candidate": [evaluation(0.6)]},
                "comparisons": [one],
                "decision": Decision(passed=True, tolerance=0.05, reasons=["Because."]),
            }
        )
    )
    return text_at(page, "body > header .decision")


@pytest.mark.parametrize("reference", ["live", "base"])
def test_beside_the_decision_it_says_which_side_brought_the_change(reference: str) -> None:
    """Without a live model it is the base model that the candidate is set against."""
    assert (
        "Vectors brought the gain: Recall@30 of curated queries +0.100 (+0.080 to +0.120) together, "
        "+0.200 (+0.180 to +0.220) by vectors alone; words are the same for both models."
    ) in decided(dense=0.2, reference=reference)
    assert "Fusion brought the gain" in decided(dense=0.01, reference=reference)


def test_a_report_of_an_earlier_release_names_no_side() -> None:
    assert "brought" not in decided(dense=None)


def test_no_side_is_named_where_nothing_was_replaced() -> None:
    """The live model was measured anew beside the base model, with changes from it."""
    data = MINIMAL.model_copy(update={"evaluations": {"base": [evaluation(0.3)], "live": [evaluation(0.6)]}})
    one = change(0.3, reference="base")
    one.dense = dict(one.differences)
    data.comparisons.append(one)
    assert "brought" not in text_at(render(data), "body > header")


def trained(**changes: Any) -> str:
    """The text of a page about a training."""
    return text_of(render(MINIMAL.model_copy(update={"training": TrainingRun(base_model="tiny", **changes)})))


def test_a_sample_of_the_queries_is_shown_with_the_episodes_they_must_find() -> None:
    sample = QuerySample(title="The tired nurse", query="why nurses cannot sleep", origin="key_phrase")
    page = render(MINIMAL.model_copy(update={"training": TrainingRun(base_model="tiny", samples=[sample])}))
    (row,) = HTMLParser(page).css('[aria-label="Some of the queries"] tbody tr')
    assert [cell.text() for cell in row.css("th, td")] == ["why nurses cannot sleep", "key phrase", "The tired nurse"]
    assert "Some of the queries" not in trained()


def test_a_script_in_a_generated_query_is_text() -> None:
    """A model that has read hostile descriptions may write one."""
    sample = QuerySample(title="x", query="<script>alert(1)</script>", origin="doc2query")
    page = render(MINIMAL.model_copy(update={"training": TrainingRun(base_model="tiny", samples=[sample])}))
    assert not HTMLParser(page).css("script")
    assert "<script>alert(1)</script>" in text_of(page)


def test_queries_that_were_not_used_are_counted_by_reason() -> None:
    assert "wrong language 30 75.0 %" in trained(queries_dropped={"wrong_language": 30, "repeated": 10})


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (
            {"device": "cuda", "names": ["NVIDIA H100"], "gpus": 1, "gpu_seconds": 90.0, "memory_peak_bytes": 2**33},
            "Trained on NVIDIA H100 GPU time 1 min 30 s Memory at the peak 8.0 GiB",
        ),
        (
            {"device": "cuda", "names": ["A100", "A100"], "gpus": 2, "gpu_seconds": 7200, "batch_halvings": 2},
            "Trained on 2 × A100 GPU time 2 h 00 min Out of memory batch halved 2 times",
        ),
        (
            {"device": "cpu", "seconds": 42, "memory_peak_bytes": 2**29},
            "Trained on CPU Time 42 s Memory at the peak 512 MiB",
        ),
        (
            {"device": "cpu", "seconds": 42, "fallback": True},
            "Trained on CPU (CPU fallback: no GPU available) Time 42 s",
        ),
    ],
)
def test_the_report_says_what_the_training_took(use: dict[str, Any], said: str) -> None:
    assert said in trained(device=Usage.model_validate(use))


@pytest.mark.parametrize(("passed", "words"), [(True, "Passed the gate."), (False, "Refused by the gate.")])
def test_the_decision_stands_at_the_top(passed: bool, words: str) -> None:
    decision = Decision(passed=passed, tolerance=0.05, reasons=["Because."])
    page = render(MINIMAL.model_copy(update={"decision": decision}))
    assert words in text_at(page, "body > header")
    assert "Because." in text_at(page, "#gate")


def test_tables_have_headers_for_rows_and_columns(full: ReportData) -> None:
    for table in HTMLParser(render(full)).css("table"):
        assert all(header.attributes.get("scope") == "col" for header in table.css("thead th"))
        assert all(header.attributes.get("scope") == "row" for header in table.css("tbody th"))
        assert table.css("tbody th")


def test_report_data_survives_json(full: ReportData) -> None:
    """It is stored beside the page, so that a page can be made anew."""
    stored: Any = full.model_copy(update={"training": None})
    assert ReportData.model_validate_json(stored.model_dump_json()) == stored
