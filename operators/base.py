"""What podsearch's operators have in common."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from include.settings import Settings, get_settings
from include.storage import ArtifactStore

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context


class PodsearchOperator(BaseOperator):
    """An operator that knows the settings and the artifact store of its process."""

    @cached_property
    def settings(self) -> Settings:
        return get_settings()

    @cached_property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.settings.artifacts_root)

    def skip_run(self, reason: str) -> NoReturn:
        """End the run here, green, because there is nothing to do; the log says why."""
        self.log.info(reason)
        raise AirflowSkipException(reason)

    def announce(self, context: Context, asset: Asset, extra: dict[str, Any]) -> None:
        """Attach what happened to the asset event that the task emits when it succeeds."""
        context["outlet_events"][asset].extra = extra
