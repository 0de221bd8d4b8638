"""What podsearch's operators have in common."""

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
    """A task was to be told something by another one, which has left nothing."""


class PodsearchOperator(BaseOperator):
    """An operator that knows the settings and the artifact store of its process.

    What its templated fields take from other tasks must be there. Airflow would make the text "None" of a value that
    is missing, and a task would look for the snapshot, or the folder, of that name.
    """

    lineage: Lineage | None = None
    """What the task has read and written, once it has."""

    @cached_property
    def settings(self) -> Settings:
        return get_settings()

    @cached_property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.settings.installation.artifacts_root)

    def skip_run(self, reason: str) -> NoReturn:
        """End the run here, green, because there is nothing to do; the log says why."""
        self.log.info(reason)
        raise AirflowSkipException(reason)

    @contextmanager
    def unless_overtaken(self) -> Iterator[None]:
        """A block that writes only if no newer run has gone on meanwhile; else the run ends here, and says so.

        Skipped, because success would announce something, and a failure would call somebody.
        """
        try:
            yield
        except OvertakenError as overtaken:
            self.skip_run(f"A newer run has overtaken this one, which changes nothing. {overtaken}")

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """What Airflow's provider for OpenLineage asks for when the task has ended well."""
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

        :raises MissingValueError: what one of them is to be filled with is not there.
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
        return f"The field {field} of {task_id} is empty: its template {template!s} gives nothing."
    named = " and ".join(tasks)
    return (
        f"The field {field} of {task_id} is empty, because {named} has left nothing to fill it with: it failed, was "
        f"skipped, or was marked as success by hand. Clear {named}, with the tasks after it; or trigger a new run."
    )
