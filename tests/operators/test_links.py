from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from operators.links import DataDocsLink, QuarantineLink, ReportLink, page_url
from operators.quality import ValidateDriftOperator, ValidateEpisodesOperator, ValidateRawOperator
from operators.reindex import PublishReportOperator

KEY: Any = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1)


def found(operator: Any) -> dict[str, str]:
    return {link.name: link.get_link(operator, ti_key=KEY) for link in operator.operator_extra_links}


def test_a_validating_task_leads_to_its_page_of_data_docs() -> None:
    raw = ValidateRawOperator(task_id="a", folder="f", file="podcasts", run_name="20260101T020000.v1")
    checks = [
        operator(task_id="b", snapshot_id="s1", run_name="run")
        for operator in (ValidateEpisodesOperator, ValidateDriftOperator)
    ]

    assert found(raw) == {"Data Docs": "/podsearch/quality/20260101T020000.v1/data_docs/raw_podcasts.html"}
    assert [found(check) for check in checks] == [
        {
            "Data Docs": f"/podsearch/quality/run/data_docs/{suite}.html",
            "Quarantine": "/podsearch/snapshots/s1/quarantine",
        }
        for suite in ("episodes", "drift")
    ]


@pytest.mark.parametrize(
    ("returned", "link"), [("reports/r1/index.html", "/podsearch/reports/r1/index.html"), (None, "")]
)
def test_the_report_is_the_one_that_the_task_returned(
    monkeypatch: pytest.MonkeyPatch, returned: str | None, link: str
) -> None:
    monkeypatch.setattr("airflow.sdk.bases.xcom.BaseXCom.get_value", lambda *, ti_key, key: returned)
    task = PublishReportOperator(task_id="t", plan_id="p", live="nothing", comparison_id="c", verification={})

    assert found(task) == {"Report": link}


@pytest.mark.parametrize(
    ("base", "start"),
    [("http://localhost:8080", ""), ("https://example.org/airflow/", "/airflow"), ("", "")],
)
def test_a_link_stays_on_the_server_that_the_reader_has_reached(
    monkeypatch: pytest.MonkeyPatch, base: str, start: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)

    assert page_url("quality/a run/<x>.html") == f"{start}/podsearch/quality/a%20run/%3Cx%3E.html"


def test_links_have_names_of_their_own_in_what_a_task_leaves() -> None:
    assert len({link().xcom_key for link in (DataDocsLink, QuarantineLink, ReportLink)}) == 3
