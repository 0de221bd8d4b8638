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

from operators.links import PREFIX, page_url


def may_read(dag_id: str) -> Callable[..., None]:
    """The check that a request comes from a user who may read the task logs of a DAG.

    What it uses of Airflow is internal, and may move when Airflow's version does.
    """
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api.security import requires_access_dag

    return requires_access_dag("GET", DagAccessEntity.TASK_LOGS, param_dag_id=dag_id)


class PodsearchPages(AirflowPlugin):
    """The pages, and their place in Airflow's navigation."""

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
            }
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
            may_read_quality=may_read("ingest_episodes"),
            may_read_reports=may_read("reindex_episodes"),
        )
        return [{"app": app, "url_prefix": PREFIX, "name": "podsearch"}]
