"""### Watch search

Checks every hour, and sends an alert, if

- the published snapshot is older than `PODSEARCH_FRESHNESS_DAYS`;
- search has not received it within `PODSEARCH_INDEX_LAG_HOURS`, because `reindex_episodes` is paused, failing or
  waiting;
- search no longer finds episodes that it is known to find: answers to curated queries, or titles;
- the live index has lost records, or its scores or answering times have left the range of recent days;
- listeners found less yesterday than on the days before, where searches are recorded.

It also resends alerts that could not be delivered.

**Owner:** podsearch. **If it fails:** nothing else is affected; the failed task's log says what could not be read.
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
    description="Is the snapshot fresh? Does search have it? Does it find what it should, and what listeners want?",
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
    # In parallel: a check that fails does not stop the others.
    CheckFreshnessOperator(task_id="check_freshness") >> RetryAlertsOperator(task_id="retry_alerts")
    CheckLagOperator(task_id="check_lag")
    CheckSearchOperator(task_id="check_search")
    CheckListeningOperator(task_id="check_listening")
