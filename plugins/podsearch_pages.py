"""Airflow plugin: what is live, the reports, the data's quality and search as pages behind Airflow's own login.

Airflow mounts a plugin's application without any protection, so every route asks who is there: whoever may read the
task logs of the DAG that a page comes from may read the page.

Airflow loads this file into each of its processes: only the web server, which asks for it, builds the application.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from operators.links import PREFIX, DataDocsLink, ReportLink, page_url

# What these two use of Airflow is internal, and may move when Airflow's version does.


def may_read(dag_id: str | None) -> Callable[..., None]:
    """The check that a request comes from a user who may read the task logs of a DAG.

    :param dag_id: None if the path names it.
    """
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api.security import requires_access_dag

    return requires_access_dag("GET", DagAccessEntity.TASK_LOGS, param_dag_id=dag_id)


def page_of_run(dag_id: str, run_id: str) -> str | None:
    """The page that says most about a DAG run, below the prefix: its report, else the first of its Data Docs.

    Found by the links of its tasks, which Airflow keeps.
    """
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        for link in (ReportLink, DataDocsLink):
            kept = (XComModel.dag_id == dag_id, XComModel.run_id == run_id, XComModel.key == link().xcom_key)
            for value in session.scalars(select(XComModel.value).where(*kept)):
                if path := str(value).strip('"').partition(f"{PREFIX}/")[2]:
                    return path.rpartition("/")[0] + "/index.html"
    return None


class PodsearchPages(AirflowPlugin):
    """The pages, and their places in Airflow: in the navigation, and beside the tasks of each run."""

    name = "podsearch_pages"

    def __init__(self) -> None:
        self.external_views = [
            {
                "name": "podsearch",
                "href": page_url("live"),
                "destination": "nav",
                "url_route": "podsearch",
                "nav_top_level": True,
                "icon": page_url("icon.svg"),
            },
            {
                "name": "podsearch",
                "href": page_url("runs") + "/{DAG_ID}/{RUN_ID}",
                "destination": "dag_run",
                "url_route": "podsearch_run",
                "icon": page_url("icon.svg"),
            },
        ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The application and where it is mounted."""
        from include.pages.app import create_app
        from include.pages.search import SearchPage
        from include.search.http.access import read_token
        from include.settings import get_settings
        from include.storage import ArtifactStore

        def open_search() -> SearchPage:
            search = get_settings().search
            return SearchPage(search.reached_at, read_token(search.token_file))

        app = create_app(
            lambda: ArtifactStore(get_settings().installation.artifacts_root),
            open_search,
            page_of_run,
            may_read_quality=may_read("ingest_episodes"),
            may_read_reports=may_read("reindex_episodes"),
            may_read_run=may_read(None),
        )
        return [{"app": app, "url_prefix": PREFIX, "name": "podsearch"}]
