"""### Train the retriever

Writes queries for a sample of the episodes, checks them, fine-tunes the base model on them, and registers the result.
Runs monthly, and when episodes arrive; a run ends at once, green, if the newest model is young enough and of the
current recipe.

**Owner:** podsearch. **If it fails:** search goes on with the live model. A killed or failed `fine_tune` goes on
from its last checkpoint when it is cleared, and `generate_queries` from the last of its batches. If `validate_queries`
fails, its Data Docs say what is wrong with the queries. A run registers nothing if a newer one has meanwhile.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param, XComArg

from operators.alerts import RunFailed, RunSucceeded
from operators.names import DEFAULT_ARGS, EPISODES, Tag
from operators.training import (
    BuildPairsOperator,
    FineTuneOperator,
    GenerateQueriesOperator,
    PlanTrainingOperator,
    RegisterModelOperator,
    RoundTripOperator,
    ValidateQueriesOperator,
    generator_gpus,
    training_gpus,
)

with DAG(
    dag_id="train_retriever",
    description="Write queries, fine-tune the retriever, register it",
    doc_md=__doc__,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 3 1 * *", timezone="UTC", run_immediately=timedelta(0)), assets=EPISODES
    ),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=RunFailed(),
    on_success_callback=RunSucceeded(),
    params={"force": Param(False, type="boolean", title="Train even if the newest model will do")},
    tags=[Tag.PODSEARCH, Tag.TRAINING],
):
    training_id = "{{ ti.xcom_pull(task_ids='plan_training', key='training_id') }}"

    plan_training = PlanTrainingOperator(task_id="plan_training", force="{{ params.force }}")
    generate_queries = GenerateQueriesOperator.partial(
        task_id="generate_queries",
        training_id=training_id,
        gpus=generator_gpus(),
        map_index_template="shard {{ task.shard }}",
    ).expand_kwargs(plan_training.output)
    build_pairs = BuildPairsOperator(task_id="build_pairs", training_id=training_id)
    validate_queries = ValidateQueriesOperator(
        task_id="validate_queries", training_id=training_id, run_name=f"training-{training_id}"
    )
    round_trip = RoundTripOperator(task_id="round_trip", training_id=training_id)
    fine_tune = FineTuneOperator(task_id="fine_tune", training_id=training_id, gpus=training_gpus())
    register_model = RegisterModelOperator(
        task_id="register_model",
        training_id=training_id,
        trainings=XComArg(plan_training, key="trainings"),
        device_usage=XComArg(fine_tune, key="device_usage"),
    )

    generate_queries >> build_pairs >> validate_queries >> round_trip >> fine_tune >> register_model
