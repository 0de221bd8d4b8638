"""Links from a task in Airflow's pages to podsearch's pages about it, which ``plugins/`` serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PREFIX = "/podsearch"
"""Where the plugin's pages are, on Airflow's own server."""


def page_url(path: str) -> str:
    """The address of a page for a browser.

    It names no server: whoever reads Airflow's pages has reached the right one, under whatever name.

    :param path: its path in the artifact store, or of a page that is made when it is asked for.
    """
    base: str = conf.get("api", "base_url", fallback="")
    return urlsplit(base).path.rstrip("/") + f"{PREFIX}/{quote(path)}"


class DataDocsLink(BaseOperatorLink):
    """To the page of the suite that a task validates, with links to all of its run."""

    name = "Data Docs"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        validating: Any = operator
        return page_url(f"quality/{validating.run_name}/data_docs/{validating.suite}.html")


class QuarantineLink(BaseOperatorLink):
    """To the rows that could not be used for a task's snapshot."""

    name = "Quarantine"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        with_snapshot: Any = operator
        return page_url(f"snapshots/{with_snapshot.snapshot_id}/quarantine")


class ReportLink(BaseOperatorLink):
    """To the report whose path a task returned; none when it failed."""

    name = "Report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        # The key is frozen, and the protocol it must fit says attributes that can be set.
        path: str | None = BaseXCom.get_value(ti_key=ti_key, key=BaseXCom.XCOM_RETURN_KEY)  # type: ignore[arg-type]
        return page_url(path) if path else ""
