"""Addresses of Airflow's pages that alerts lead to."""

from __future__ import annotations

from urllib.parse import quote

from include.quality.result import DOCS, FOLDER


def run_url(base_url: str, dag_id: str, run_id: str, task_id: str | None = None, map_index: int = -1) -> str:
    """The page of a run, or of one of its tasks, in Airflow's UI."""
    url = f"{base_url.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}"
    if task_id is not None:
        url += f"/tasks/{quote(task_id)}" + (f"/mapped/{map_index}" if map_index >= 0 else "")
    return url


def docs_url(base_url: str, run_name: str) -> str:
    """The Data Docs of a run, as podsearch's pages in Airflow's UI serve them."""
    return f"{base_url.rstrip('/')}/podsearch/{FOLDER}/{quote(run_name)}/{DOCS}/index.html"
