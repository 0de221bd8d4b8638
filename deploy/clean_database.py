"""``python -m deploy.clean_database``: once a day, until it is stopped, remove old records from Airflow's database.

Tasks have no access to it, by Airflow's design, so this is no task: a container of docker-compose.yaml runs it, and
`make up` cleans once as it starts. It is Airflow's own `airflow db clean`: the last run of each DAG stays whatever its
age, and nothing is archived.
"""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

from include.settings import get_settings

DAY = 24 * 3600
TABLES = (
    "_xcom_archive",
    "asset_event",
    "callback",
    "celery_taskmeta",
    "celery_tasksetmeta",
    "connection_test_request",
    "dag_run",
    "dag_version",
    "deadline",
    "import_error",
    "job",
    "log",
    "partitioned_asset_key_log",
    "revoked_token",
    "task_instance",
    "task_instance_history",
    "task_reschedule",
    "task_state_store",
    "trigger",
    "xcom",
)
"""All that Airflow can clean but ``dag``: a DAG counts as old once its file has not been read for so long, as after a
long time off, and goes with its runs and with whether it was paused."""


def arguments(days: int) -> list[str]:
    """Of ``airflow``, to remove what is older than so many days."""
    before = datetime.now(UTC) - timedelta(days=days)
    options = ("--tables", ",".join(TABLES), "--skip-archive", "--error-on-cleanup-failure", "--yes")
    return ["db", "clean", "--clean-before-timestamp", before.isoformat(), *options]


def main() -> int:
    """Clean daily; the exit status of the first time that failed."""
    while True:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "airflow", *arguments(get_settings().housekeeping.keep_log_days)], check=False
        )
        if done.returncode:
            return done.returncode
        time.sleep(DAY)


if __name__ == "__main__":
    sys.exit(main())
