"""### Go back to what was live before

Trigger it by hand when what went live last turns out to be worse. It shows what would go live again and asks. Once you
approve (under *Required Actions*), search answers from that at once. Nothing is embedded or written: its vectors were
kept. The model you rolled back from does not go live again by itself; to return to it, trigger this DAG again.
Afterwards, trigger reindex_episodes to bring what is live up to the latest snapshot.

**Owner:** podsearch. **If it fails:** the live pointer is unchanged, and the failed task's message says why. If what is
live has changed meanwhile, trigger the DAG again.
"""

from __future__ import annotations

from airflow.sdk import DAG

from operators.alerts import RunFailed, RunSucceeded
from operators.names import DEFAULT_ARGS, Tag
from operators.pools import Pool
from operators.rollback import ApproveRollbackOperator, PlanRollbackOperator, RollBackOperator

with DAG(
    dag_id="rollback_index",
    description="Show what was live before, ask, go back to it",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=RunFailed(),
    on_success_callback=RunSucceeded(),
    tags=[Tag.PODSEARCH, Tag.SEARCH],
):
    plan_rollback = PlanRollbackOperator(task_id="plan_rollback")
    approve_rollback = ApproveRollbackOperator(task_id="approve_rollback", rollback=plan_rollback.output)
    # In the index pool, so that no re-index activates or retires anything meanwhile.
    roll_back = RollBackOperator(
        task_id="roll_back", rollback=plan_rollback.output, answer=approve_rollback.output, pool=Pool.INDEX
    )

    approve_rollback >> roll_back
