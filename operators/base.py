"""Common ground of podsearch's operators."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator, XComArg
from airflow.sdk.exceptions import AirflowSkipException, XComNotFound

from include.errors import OvertakenError, PermanentError
from include.settings import Settings, get_settings
from include.storage import ArtifactStore
from operators.lineage import Lineage, facets

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Asset, Context

PULLED = re.compile(r"""xcom_pull\(\s*(?:task_ids=)?['"]([^'"]+)['"]""")
"""The task that a template takes a value from."""


class MissingValueError(PermanentError):
    """A task needs a value from another task, which has left none."""


class PodsearchOperator(BaseOperator):
    """An operator that knows the settings and the artifact store of its process.

    Values that its templated fields take from other tasks must exist. Airflow would render a missing value as the text
    "None", and a task would look for a snapshot or a folder of that name.
    """

    lineage: Lineage | None = None
    """What the task has read and written, after it has done so."""

    @cached_property
    def settings(self) -> Settings:
        return get_settings()

    @cached_property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.settings.installation.artifacts_root)

    def skip_run(self, reason: str) -> NoReturn:
        """End the run here, successfully, because there is nothing to do; the log says why."""
        self.log.info(reason)
        raise AirflowSkipException(reason)

    @contextmanager
    def unless_overtaken(self) -> Iterator[None]:
        """A block that writes only if no newer run has overtaken this one; otherwise the run ends here, and says so.

        It is skipped, because success would announce something and failure would send an alert.
        """
        try:
            yield
        except OvertakenError as overtaken:
            self.skip_run(f"A newer run has overtaken this one, so it changes nothing. {overtaken}")

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """What Airflow's OpenLineage provider asks for when the task has succeeded."""
        root = self.settings.installation.artifacts_root
        return facets(self.lineage, artifacts_root=root) if self.lineage else None

    def announce(self, context: Context, asset: Asset, extra: dict[str, Any]) -> None:
        """Attach what happened to the asset event that the task emits when it succeeds."""
        context["outlet_events"][asset].extra = extra

    # Airflow calls this one for mapped tasks, too, and render_template_fields for the others only.
    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Fill the templated fields in.

        :raises MissingValueError: the value for one of them is missing.
        """
        strict = jinja_env.overlay(finalize=_given)
        for field in template_fields:
            template = getattr(parent, field)
            try:
                super()._do_render_template_fields(parent, (field,), context, strict, seen_oids)
                if getattr(parent, field) in (None, "") and _sources(template):
                    raise _NothingError
            except (_NothingError, XComNotFound) as error:
                raise MissingValueError(_missing(self.task_id, field, template)) from error


class _NothingError(ValueError):
    """A template asked for something that is not there."""

    def __init__(self) -> None:
        super().__init__("There is no value.")


def _given(value: Any) -> Any:
    """What an expression in a template came to."""
    if value is None:
        raise _NothingError
    return value


def _sources(template: Any) -> list[str]:
    """The tasks that a templated field takes its value from."""
    if isinstance(template, XComArg):
        return list(dict.fromkeys(operator.task_id for operator, _ in template.iter_references()))
    return list(dict.fromkeys(PULLED.findall(template))) if isinstance(template, str) else []


def _missing(task_id: str, field: str, template: Any) -> str:
    tasks = _sources(template)
    if not tasks:
        return f"The field {field} of {task_id} is empty: its template {template!s} yields nothing."
    named = " and ".join(tasks)
    return (
        f"The field {field} of {task_id} is empty, because {named} left no value for it: it failed, was "
        f"skipped, or was marked as success by hand. Clear {named}, with the tasks after it; or trigger a new run."
    )
