"""### Watch search

Looks hourly whether

- the published snapshot is older than `PODSEARCH_FRESHNESS_DAYS`,
- search has not got it within `PODSEARCH_INDEX_LAG_HOURS`, because `reindex_episodes` is paused, fails, or waits,
- search still finds some episodes that it is known to find: answers to curated queries, or titles,
- listeners found as much yesterday as on the days before, where searches are recorded,

and tells of it; and sends the alerts that could not be sent before.

**Owner:** podsearch. **If it fails:** nothing else is affected; the log of the failed task says what could not be read.
If `check_search` fails, search cannot answer anybody.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from operators.alerts import RunFailed, RunSucceeded
from operators.names import DEFAULT_ARGS, Tag
from operators.watch import (
    CheckFreshnessOperator,
    CheckLagOperator,
    CheckListeningOperator,
    CheckSearchOperator,
    RetryAlertsOperator,
)

with DAG(
    dag_id="watch_search",
    description="Is the snapshot fresh, does search have it, does search find what it should and listeners want",
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
    # Beside each other: one that fails keeps no other from looking.
    CheckFreshnessOperator(task_id="check_freshness") >> RetryAlertsOperator(task_id="retry_alerts")
    CheckLagOperator(task_id="check_lag")
    CheckSearchOperator(task_id="check_search")
    CheckListeningOperator(task_id="check_listening")
