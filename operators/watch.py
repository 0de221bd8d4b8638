"""Tasks of ``watch_search``: is what search answers from as it should be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from operators.alerts import announcer, report_freshness
from operators.base import PodsearchOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class CheckFreshnessOperator(PodsearchOperator):
    """Reports a published snapshot that is older than the settings allow.

    Returns its age in hours, None before the first one.
    """

    def execute(self, context: Context) -> float | None:
        from include.alerts.facts import age_of_snapshot

        age = age_of_snapshot(self.store, datetime.now(UTC))
        if age is None:
            return None
        days = self.settings.freshness_days
        report_freshness(age, timedelta(days=days) if days else None)
        return round(age.total_seconds() / 3600, 1)


class RetryAlertsOperator(PodsearchOperator):
    """Sends the alerts that could not be sent when they were due."""

    def execute(self, context: Context) -> None:
        announcer().catch_up()
