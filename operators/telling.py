"""Sending alerts from Airflow: the alert of a task or a run, its links, and the connections it goes through.

Nothing here raises: an alert that cannot be sent is logged, kept in the book of faults, and sent on the next occasion.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf, get_current_context

from include.settings import get_settings
from include.storage import ArtifactStore

if TYPE_CHECKING:
    from include.alerts.alert import FaultKind, Link
    from include.alerts.announce import Announcer
    from include.alerts.book import Fault

log = logging.getLogger(__name__)


@contextmanager
def harmless() -> Iterator[None]:
    """Log what goes wrong, and continue."""
    try:
        yield
    except Exception:
        log.exception("An alert could not be composed.")


def tell_of_task(kind: FaultKind, context: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Report a fault that a task has met. A link to the task goes before those of the facts.

    :param facts: fields of an :class:`include.alerts.alert.Alert`.
    """
    ti = context["ti"]
    link = link_to("Task", ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
    tell(kind, context, ti.dag_id, ti.run_id, facts, link, task_id=ti.task_id)


def tell(
    kind: FaultKind,
    context: Mapping[str, Any],
    dag_id: str,
    run_id: str,
    facts: Mapping[str, Any],
    link: Link,
    *,
    task_id: str | None = None,
) -> None:
    """Report a fault that a run, or one of its tasks, has met.

    :param link: goes before those of the facts.
    """
    from include.alerts.alert import Alert, Severity

    alert = Alert(
        dag_id=dag_id,
        run_id=run_id,
        task_id=task_id,
        run_after=run_after(context),
        kind=kind,
        severity=Severity.CRITICAL if kind.stops else Severity.WARNING,
        occurred_at=datetime.now(UTC),
        unaffected=_unaffected(),
        **{**facts, "links": [link, *facts.get("links", ())]},
    )
    announcer().report(alert)


def resolve(kind: FaultKind, *, task_id: str | None = None) -> None:
    """Announce the end of a fault that this task checks for, if it is open and no newer run has met it.

    :param task_id: whose fault it is (default: this task's).
    """
    from include.alerts.alert import fault_id

    context = get_current_context()
    ti = context["ti"]
    wanted, after = fault_id(ti.dag_id, task_id or ti.task_id, kind), run_after(context)

    def ended(item: Fault) -> bool:
        return item.fault_id == wanted and item.may_be_ended_by(after)

    announcer().resolve(ended, datetime.now(UTC))


def announcer() -> Announcer:
    """The announcer, with the channels in the settings."""
    from include.alerts.announce import Announcer
    from include.alerts.book import FaultBook
    from operators.channels import Channels

    alerts = get_settings().alerts
    routes = {"critical": alerts.critical, "warning": alerts.warning}
    return Announcer(FaultBook(store()), Channels(routes, recipients=alerts.emails).of)


def run_after(context: Mapping[str, Any]) -> datetime | None:
    """Airflow's time of the run in a context."""
    run: Any = context.get("dag_run")
    found: datetime | None = run.get("run_after") if isinstance(run, dict) else getattr(run, "run_after", None)
    return found


def link_to(label: str, dag_id: str, run_id: str, task_id: str | None = None, map_index: int | None = None) -> Link:
    """A link to a run, or to one of its tasks, in Airflow's pages."""
    from include.alerts.addresses import run_url
    from include.alerts.alert import Link

    return Link(label=label, url=run_url(base_url(), dag_id, run_id, task_id, -1 if map_index is None else map_index))


def base_url() -> str:
    """The start of the addresses of Airflow's pages."""
    return str(conf.get("api", "base_url", fallback="http://localhost:8080"))


def store() -> ArtifactStore:
    return ArtifactStore(get_settings().installation.artifacts_root)


def _unaffected() -> dict[str, str]:
    from include.alerts.state import still_live

    try:
        return still_live(store())
    except Exception:
        log.exception("What is live could not be read.")
        return {"Live": "unknown: the artifact store cannot be read"}
