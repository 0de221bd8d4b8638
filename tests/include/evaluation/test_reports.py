"""The page of all reports."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from selectolax.lexbor import LexborHTMLParser

from include.evaluation.gate import Decision
from include.evaluation.metrics import METRIC_NAMES, Interval, ModelEvaluation
from include.evaluation.report import QUERY_SET_NAMES, Corpus, IndexPlan, ReportData, Versions
from include.evaluation.reports import FOLDER, SETS, SHOWN, newest, reports_page
from include.settings import PROJECT
from include.storage import ArtifactStore

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def evaluation(value: float) -> ModelEvaluation:
    metrics = {name: Interval(mean=value, low=value, high=value) for name in METRIC_NAMES}
    return ModelEvaluation(model_version="m", query_set="curated", queries=9, catalogue=9, metrics=metrics, ranks={})


def write(store: ArtifactStore, number: int, *, passed: bool = True, model: str = "m") -> None:
    """A report of the day with that number, whose model did so well."""
    report = ReportData(
        run_id=f"r{number}",
        created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number),
        evaluations={"base": [evaluation(0.1)], "candidate": [evaluation(number / 100)]},
        decision=Decision(passed=passed, tolerance=0.05, reasons=[]),
        plan=IndexPlan(kind="difference", added=1_234),
        corpus=Corpus(episodes=39_807, shows=7),
        versions=Versions(model=model),
    )
    store.write_json(report.model_dump(mode="json"), FOLDER, report.run_id, "report.json")
    store.write_bytes(b"page", FOLDER, report.run_id, "index.html")
    file = store.local_root and store.local_root / FOLDER / report.run_id / "report.json"
    assert file
    os.utime(file, (report.created_at.timestamp(), report.created_at.timestamp()))


def rows(page: str) -> list[list[str]]:
    return [[" ".join(cell.text().split()) for cell in row.css("td")] for row in LexborHTMLParser(page).css("tbody tr")]


def test_before_there_is_one_it_says_what_writes_one(store: ArtifactStore) -> None:
    assert "There are no reports yet" in reports_page(store)


def test_each_report_is_a_line_the_newest_first_and_leads_to_it(store: ArtifactStore) -> None:
    write(store, 1)
    write(store, 2, passed=False, model=HOSTILE)
    page = reports_page(store)
    done = "the difference: 1,234 added, 0 changed, 0 removed"
    assert rows(page) == [
        ["2026-01-03 00:00 UTC", done, HOSTILE, "refused", "39,807", "0.020 / 0.020"],
        ["2026-01-02 00:00 UTC", done, "m", "passed", "39,807", "0.010 / 0.010"],
    ]
    tree = LexborHTMLParser(page)
    links = [link.attributes["href"] for link in tree.css("tbody a")]
    assert links == ["reports/r2/index.html", "reports/r1/index.html"]
    assert not tree.css("script")


def test_figures_are_drawn_over_the_reports(store: ArtifactStore) -> None:
    write(store, 10)
    assert not LexborHTMLParser(reports_page(store)).css("svg"), "one is no trend"
    write(store, 20)
    tree = LexborHTMLParser(reports_page(store))
    assert [one.text() for one in tree.css(".panel h2")] == ["Recall@30, curated", "MRR@30, curated"]
    assert tree.css("polyline")[0].attributes["points"] == "0.0,45.0 320.0,0.0 "


def test_what_is_damaged_hides_nothing_else_and_the_page_stays_short(store: ArtifactStore) -> None:
    for number in range(SHOWN + 3):
        write(store, number)
    store.write_bytes(b"{", FOLDER, f"r{SHOWN + 2}", "report.json")
    store.write_bytes(b"page", FOLDER, "unfinished", "index.html")
    assert [one.run_id for one in newest(store)] == [f"r{number}" for number in range(3, SHOWN + 2)]


def test_it_knows_every_query_set() -> None:
    assert set(SETS) == set(QUERY_SET_NAMES)


def test_the_web_server_can_make_it_without_what_models_need() -> None:
    heavy = "{'torch', 'lancedb', 'matplotlib', 'great_expectations'}"
    code = f"import sys, include.pages.app; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
