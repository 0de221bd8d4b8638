"""Runs DAGs whose tasks ask, with Airflow's scheduling loop and execution API, and answers; see test_approval.

A process of its own, for Airflow's database is made in AIRFLOW_HOME. The last line printed is what happened, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import handle_event_submit
from airflow.triggers.base import TriggerEvent
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

SECONDS = 60
POLL_SECONDS = 0.02
ADA = {"id": "7", "name": "Ada"}


def main(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run each ``{"dag_id", "conf", "answer", "reason"}`` in turn; the states of its tasks, and what was asked.

    Without ``answer`` nothing may be asked.
    """
    initdb()
    bag = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    assert not bag.import_errors, bag.import_errors
    results = []
    for request in requests:
        asked: dict[str, Any] = {}
        over = threading.Event()
        if "answer" in request:
            arguments = (request["answer"], request.get("reason"), asked, over)
            threading.Thread(target=_answer, args=arguments, daemon=True).start()
        run = bag.dags[request["dag_id"]].test(run_conf=request.get("conf"))
        over.set()
        states = {ti.task_id: ti.state for ti in run.get_task_instances()}
        results.append({"run": run.state, "tasks": states, **asked})
    return results


def _answer(option: str | None, reason: str | None, asked: dict[str, Any], over: threading.Event) -> None:
    """Do what Airflow's API does when a person answers (``update_hitl_detail``); None: what time running out does.

    It answers until the run is over: ``dag.test()`` sets a task's state once more after the task has asked, and so
    loses an answer that came between. A run that waits in vain would never end, and so the process ends.
    """
    deadline = time.monotonic() + SECONDS
    while not over.wait(POLL_SECONDS) and (asked or time.monotonic() < deadline):
        with create_session() as session:
            waiting = select(TaskInstance).where(TaskInstance.state == TaskInstanceState.AWAITING_INPUT)
            for task in session.scalars(waiting):
                detail = session.scalars(select(HITLDetail).where(HITLDetail.ti_id == task.id)).one()
                asked.update(subject=detail.subject, body=detail.body, until=task.trigger_timeout is not None)
                asked.update(fields=sorted(detail.params or {}))
                detail.params_input = {"reason": reason} if reason else {}
                detail.responded_by, detail.responded_at = (ADA if option else None), datetime.now(UTC)
                detail.chosen_options = [option] if option else list(detail.defaults or [])
                event: Any = TriggerEvent(detail.as_resume_event_payload(timedout=option is None))  # type: ignore[no-untyped-call]
                handle_event_submit(event, task_instance=task, session=session)
    if over.is_set():
        return
    print(f"Nothing was asked within {SECONDS} s.", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1])), default=str))
    sys.stdout.flush()
    os._exit(0)  # threads of the in-process API would be waited for
