"""### Re-index the episodes

Runs when a snapshot is published or a model is registered. It compares a new model with the live one, and the gate
decides which of them to use. Then it plans what the chosen model's namespace lacks, shows the plan with its cost, and
asks a person (under *Required Actions*) if much would be deleted. Finally it writes the difference, verifies it,
reports, and flips the live pointer.

**Owner:** podsearch. **If it fails:** search continues with what was live; the pointer moves last. Clear the failed
task: every step can be repeated, and nothing is encoded twice. If a newer run has overtaken this one, it is skipped
from the cleared task on and changes nothing.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from operators.alerts import RunFailed, RunSucceeded
from operators.approval import ApproveDeletionsOperator
from operators.comparison import EvaluateModelOperator, GateOperator, PlanComparisonOperator
from operators.names import DEFAULT_ARGS, EPISODES, RETRIEVER, Tag
from operators.pools import Pool
from operators.reindex import (
    ActivateOperator,
    DeleteWithdrawnOperator,
    EncodeShardOperator,
    FinishIndexOperator,
    PlanReindexOperator,
    PrepareNamespaceOperator,
    PublishReportOperator,
    RetireOperator,
    UpsertShardOperator,
    VerifyIndexOperator,
)

with DAG(
    dag_id="reindex_episodes",
    description="Choose the model, write the difference, verify, report, go live",
    doc_md=__doc__,
    schedule=(EPISODES | RETRIEVER),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=RunFailed(),
    on_success_callback=RunSucceeded(),
    params={
        "overrule_gate": Param(
            None,
            type=["null", "string"],
            enum=[None, "accept", "refuse"],
            title="Overrule the gate",
            description="Decide about the newest trained model instead of the gate, whatever it decided before.",
        ),
        "overrule_reason": Param("", type="string", title="Reason", description="Why; recorded with the decision."),
    },
    tags=[Tag.PODSEARCH, Tag.SEARCH],
):
    comparison_id = "{{ ti.xcom_pull(task_ids='plan_comparison', key='comparison_id') }}"
    live = "{{ ti.xcom_pull(task_ids='plan_comparison', key='live') }}"
    plan_id = "{{ ti.xcom_pull(task_ids='plan_reindex', key='plan_id') }}"

    plan_comparison = PlanComparisonOperator(task_id="plan_comparison")
    evaluate_model = EvaluateModelOperator.partial(
        task_id="evaluate_model",
        comparison_id=comparison_id,
        map_index_template="{{ task.model_version }}",
    ).expand_kwargs(plan_comparison.output)
    gate = GateOperator(task_id="gate", comparison_id=comparison_id, live=live)
    plan_reindex = PlanReindexOperator(
        task_id="plan_reindex", model_version="{{ ti.xcom_pull(task_ids='gate') }}", live=live, pool=Pool.INDEX
    )
    approve_deletions = ApproveDeletionsOperator(task_id="approve_deletions", plan_id=plan_id, live=live)
    prepare_namespace = PrepareNamespaceOperator(
        task_id="prepare_namespace", plan_id=plan_id, live=live, pool=Pool.INDEX
    )
    encode_shard = EncodeShardOperator.partial(
        task_id="encode_shard", plan_id=plan_id, live=live, map_index_template="shard {{ task.shard }}"
    ).expand_kwargs(plan_reindex.output)
    upsert_shard = UpsertShardOperator.partial(
        task_id="upsert_shard", plan_id=plan_id, live=live, pool=Pool.INDEX, map_index_template="shard {{ task.shard }}"
    ).expand_kwargs(plan_reindex.output)
    delete_withdrawn = DeleteWithdrawnOperator(task_id="delete_withdrawn", plan_id=plan_id, live=live, pool=Pool.INDEX)
    finish_index = FinishIndexOperator(task_id="finish_index", plan_id=plan_id, live=live, pool=Pool.INDEX)
    verify_index = VerifyIndexOperator(task_id="verify_index", plan_id=plan_id, live=live, comparison_id=comparison_id)
    publish_report = PublishReportOperator(
        task_id="publish_report",
        plan_id=plan_id,
        live=live,
        comparison_id=comparison_id,
        verification=verify_index.output,
    )
    activate = ActivateOperator(
        task_id="activate",
        plan_id=plan_id,
        live=live,
        comparison_id=comparison_id,
        verification=verify_index.output,
        report="{{ ti.xcom_pull(task_ids='publish_report') }}",
        pool=Pool.INDEX,
    )
    retire = RetireOperator(task_id="retire", pool=Pool.INDEX)

    evaluate_model >> gate >> plan_reindex >> approve_deletions >> prepare_namespace
    prepare_namespace >> encode_shard >> upsert_shard >> delete_withdrawn >> finish_index
    finish_index >> verify_index
    publish_report >> activate >> retire
