"""### Train the retriever

Writes queries for a sample of the episodes, checks them, fine-tunes the base model on them, and registers the result.
Runs monthly and when new episodes arrive; if the newest model is recent enough and uses the current recipe, the run
succeeds at once without doing anything.

**Owner:** podsearch. **If it fails:** search continues with the live model. When you clear a killed or failed task,
`fine_tune` resumes from its last checkpoint, and `generate_queries` from its last batch. If `validate_queries` fails,
its Data Docs say what is wrong with the queries. A run registers nothing if a newer run has done so meanwhile.
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
    params={"force": Param(False, type="boolean", title="Train even if no new model is due")},
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
