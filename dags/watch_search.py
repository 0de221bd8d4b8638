"""### Watch search

Looks hourly how old the published snapshot is, and tells of it when it is older than `PODSEARCH_FRESHNESS_DAYS`; then
sends the alerts that could not be sent before.

**Owner:** podsearch. **If it fails:** nothing else is affected; the log of the failed task says what could not be read.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from operators.alerts import RunFailed, RunSucceeded
from operators.names import DEFAULT_ARGS, Tag
from operators.watch import CheckFreshnessOperator, RetryAlertsOperator

with DAG(
    dag_id="watch_search",
    description="Freshness of the snapshot; alerts that are still to be sent",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("30 * * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=DEFAULT_ARGS,
    on_failure_callback=RunFailed(),
    on_success_callback=RunSucceeded(),
    tags=[Tag.PODSEARCH, Tag.SEARCH],
):
    CheckFreshnessOperator(task_id="check_freshness") >> RetryAlertsOperator(task_id="retry_alerts")
