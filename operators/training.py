"""Tasks of ``train_retriever``: plan, write queries, build pairs, check them, fine-tune, register."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from include.settings import get_settings
from operators.base import PodsearchOperator
from operators.gpu import GpuOperator
from operators.lineage import Data, Lineage
from operators.measures import Count, Gauge, pace, work
from operators.names import RETRIEVER
from operators.quality import ValidateOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.retriever.training.plan import TrainingPlan


class PlanTrainingOperator(PodsearchOperator):
    """Decides whether a new model is due, and names the training; skips the run if the newest model will do.

    Returns one ``{"shard": …}`` for each shard of queries; the training's id is pushed under ``training_id``, and the
    trainings whose models are registered under ``trainings``, for the task that registers.

    :param force: train in any case (templated; a DAG parameter).
    """

    template_fields: Sequence[str] = ("force",)

    def __init__(self, *, force: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.force = force

    def execute(self, context: Context) -> list[dict[str, int]]:
        from include.episodes import snapshot
        from include.feedback.pairs import recorded_pairs
        from include.queries.opening import generator_of
        from include.retriever.recipe import read_recipe
        from include.retriever.registry import trainings
        from include.retriever.training.plan import plan_training, why_due

        settings, training = self.settings, self.settings.training
        recipe = read_recipe(training.recipe)
        seen = trainings(self.store)
        reason = "it was requested" if str(self.force) == "True" else None
        if snapshot.latest(self.store) is None:
            self.skip_run("There are no episodes yet: ingest_episodes will bring some and start this DAG.")
        reason = reason or why_due(
            self.store,
            base_model=training.base_model,
            recipe=recipe,
            retrain_after_days=training.retrain_after_days,
        )
        if reason is None:
            self.skip_run("No new model is due; trigger the DAG with `force` to train all the same.")
        plan = plan_training(
            self.store,
            generator=generator_of(settings.queries),
            search_logs=settings.queries.search_logs,
            recorded=recorded_pairs(self.store) if settings.search.record_days else None,
            base_model=training.base_model,
            recipe=recipe,
        )
        self.log.info("Training %s on snapshot %s: %s.", plan.training_id, plan.snapshot_id, reason)
        context["ti"].xcom_push(key="training_id", value=plan.training_id)
        context["ti"].xcom_push(key="trainings", value=seen)
        return [{"shard": shard} for shard in range(len(plan.query_shards))]


class TrainingStepOperator(PodsearchOperator):
    """A step of a planned training.

    :param training_id: the training (templated).
    """

    template_fields: Sequence[str] = ("training_id",)

    def __init__(self, *, training_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.training_id = training_id

    @property
    def plan(self) -> TrainingPlan:
        from include.retriever.training.plan import load_plan

        return load_plan(self.store, self.training_id)

    def curated(self) -> dict[str, list[str]]:
        """The queries that people wrote to measure with, and the ids of the episodes that answer each."""
        from include.evaluation.queries import read_curated

        path = self.settings.curated_queries_path
        return read_curated(path) if path else {}


class GenerateQueriesOperator(GpuOperator, TrainingStepOperator):
    """Writes the training queries of one shard; mapped over the shards. Returns how many.

    On a GPU if the generator is a model. A retry resumes where a killed task stopped.

    :param shard: the shard's number in the plan.
    """

    def __init__(self, *, shard: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    def execute(self, context: Context) -> int:
        from include.queries.opening import create_generator
        from include.retriever.training.queries import generate_queries, queries_written

        written = queries_written(self.store, self.plan, self.shard)
        if written is not None:
            self.computes_nothing(context)
            return written
        settings = self.settings
        with self.leased(context) as device:
            generator = create_generator(
                self.plan.generator,
                device=device.kind,
                threads=settings.devices.threads,
                cache=settings.installation.work_root / "generators",
            )
            written = generate_queries(self.store, self.plan, self.shard, generator)
        work(Count.QUERIES, Gauge.QUERY_RATE, written, self.usage.seconds)
        if generator.tokens:
            pace(Gauge.QUERY_TOKENS_RATE, generator.tokens, self.usage.seconds)
        self.lineage = Lineage(
            reads=(Data("snapshots", self.plan.snapshot_id),),
            writes=(Data("training/queries", self.plan.training_id, written),),
        )
        return written


class BuildPairsOperator(TrainingStepOperator):
    """Filters the queries and splits them by episode. Returns the counts."""

    def execute(self, context: Context) -> dict[str, Any]:
        from include.retriever.training.pairing import write_pairs

        generator = self.plan.generator
        english_only = generator.multilingual_model != generator.model
        summary = write_pairs(self.store, self.plan, curated=self.curated(), english_only=english_only)
        self.lineage = Lineage(
            reads=(Data("training/queries", self.plan.training_id),),
            writes=(Data("training/pairs", self.plan.training_id, summary.pairs),),
        )
        return summary.model_dump(exclude={"samples"})


class ValidateQueriesOperator(TrainingStepOperator, ValidateOperator):
    """Validates the pairs before anything is trained on them.

    Returns what :meth:`operators.quality.ValidateOperator.check` does.

    :param run_name: names the folder of the results (templated).
    """

    template_fields: Sequence[str] = ("training_id", "run_name")
    suite = "queries"

    def execute(self, context: Context) -> dict[str, Any]:
        from include.episodes import snapshot
        from include.quality import frames, suites
        from include.retriever.training.pairing import read_pairs, read_summary

        summary = read_summary(self.store, self.training_id)
        table = snapshot.read(self.store, self.plan.snapshot_id, columns=["episode_id", "language"]).to_pydict()
        frame = frames.queries(
            read_pairs(self.store, self.training_id),
            languages=dict(zip(table["episode_id"], table["language"], strict=True)),
            episodes=summary.episodes,
            dropped=sum(summary.dropped.values()),
            curated=self.curated(),
        )
        return self.check(frame, suites.queries())


class RoundTripOperator(GpuOperator, TrainingStepOperator):
    """Leaves out the training queries whose episode the base model does not find, if the plan says so.

    Returns how many were asked and how many of them were dropped.
    """

    def execute(self, context: Context) -> dict[str, int]:
        from include.retriever.encoders.opening import open_encoder
        from include.retriever.registry import ensure_base
        from include.retriever.training.pairing import make_round_trip, read_summary

        if not self.plan.recipe.round_trip:
            self.log.info("Every query is trained on (the recipe has no round_trip).")
            self.computes_nothing(context)
            return {"asked": 0, "dropped": 0}
        if (done := read_summary(self.store, self.training_id).round_trip) is not None:
            self.computes_nothing(context)
            return done
        with self.leased(context) as device:
            base = ensure_base(self.store, self.plan.base_model, device.kind)
            encoder = open_encoder(self.store, base.version, device.kind, threads=device.threads)
            return make_round_trip(self.store, self.plan, encoder, model_version=base.version)


class FineTuneOperator(GpuOperator, TrainingStepOperator):
    """Fine-tunes the base model, measured in-batch before and after. A retry resumes from the last checkpoint.

    Returns the in-batch metrics, if there are enough queries for them to mean anything.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from include.retriever.finetuning.hardware import Hardware
        from include.retriever.training.model import train, trained

        if manifest := trained(self.store, self.plan):
            self.computes_nothing(context)
            return manifest.telling_metrics
        work, threads = self.settings.installation.work_root, self.settings.devices.threads
        with self.leased(context) as device:
            hardware = Hardware(device=device.kind, gpus=max(1, len(device.gpus)), threads=threads)
            manifest = train(self.store, self.plan, hardware=hardware, work_root=work, usage=self.usage)
        self.lineage = Lineage(
            reads=(Data("training/pairs", self.plan.training_id),), writes=(Data("models", manifest.version),)
        )
        return manifest.telling_metrics


class RegisterModelOperator(TrainingStepOperator):
    """Puts the trained model into the registry and announces it, unless a newer run has. Returns its version.

    :param trainings: the trainings whose models were registered when the run began (templated).
    :param device_usage: what fine-tuning used of its device (templated).
    """

    template_fields: Sequence[str] = ("training_id", "trainings", "device_usage")

    def __init__(self, *, trainings: Any, device_usage: Any, **kwargs: Any) -> None:
        super().__init__(outlets=[RETRIEVER], **kwargs)
        self.trainings = trainings
        self.device_usage = device_usage

    def execute(self, context: Context) -> str:
        from include.retriever.training.model import register_trained

        with self.unless_overtaken():
            manifest = register_trained(
                self.store,
                self.plan,
                device_usage=self.device_usage,
                work_root=self.settings.installation.work_root,
                seen=self.trainings,
            )
        self.announce(
            context,
            RETRIEVER,
            {
                "model_version": manifest.version,
                "training_id": manifest.training_id,
                "metrics": manifest.telling_metrics,
                "pairs": manifest.pairs,
            },
        )
        return manifest.version


def generator_gpus() -> int:
    """How many GPUs a task takes that writes queries: one for a model, none for the episodes' own words."""
    return 0 if get_settings().queries.generator == "extractive" else 1


def training_gpus() -> int:
    """How many GPUs fine-tuning takes."""
    return get_settings().devices.training_gpus
