"""Tasks of ``train_retriever``: plan, write queries, make pairs, fine-tune, register."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators.base import PodsearchOperator
from operators.names import RETRIEVER

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.retriever.training import TrainingPlan


class PlanTrainingOperator(PodsearchOperator):
    """Decides whether a model is due, and names the training; skips the run when the newest model will do.

    Returns one ``{"shard": …}`` for each shard; the training's id is pushed under ``training_id``.

    :param force: train in any case (templated; a DAG parameter).
    """

    template_fields: Sequence[str] = ("force",)

    def __init__(self, *, force: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.force = force

    def execute(self, context: Context) -> list[dict[str, int]]:
        from include.episodes import snapshot
        from include.retriever.training import plan_training, why_due

        settings, recipe = self.settings, self.settings.recipe
        reason = "it was asked for" if str(self.force) == "True" else None
        if snapshot.latest(self.store) is None:
            self.skip_run("There are no episodes yet: ingest_episodes brings them and starts this DAG.")
        reason = reason or why_due(
            self.store,
            base_model=settings.base_model,
            recipe=recipe,
            retrain_after_days=settings.retrain_after_days,
        )
        if reason is None:
            self.skip_run("The newest model will do; trigger the DAG with `force` to train all the same.")
        plan = plan_training(
            self.store,
            generator=settings.query_generator,
            queries_per_episode=settings.queries_per_episode,
            max_episodes=settings.max_training_episodes,
            train_share=settings.train_share,
            eval_share=settings.eval_share,
            base_model=settings.base_model,
            recipe=recipe,
        )
        self.log.info("Training %s on snapshot %s: %s.", plan.training_id, plan.snapshot_id, reason)
        context["ti"].xcom_push(key="training_id", value=plan.training_id)
        return [{"shard": shard} for shard in plan.shards]


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
        from include.retriever.training import load_plan

        return load_plan(self.store, self.training_id)


class GenerateQueriesOperator(TrainingStepOperator):
    """Writes the training queries of one shard; mapped over the shards. Returns how many.

    :param shard: the shard's number.
    """

    def __init__(self, *, shard: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    def execute(self, context: Context) -> int:
        from include.retriever.training import generate_queries

        return generate_queries(self.store, self.plan, self.shard)


class BuildPairsOperator(TrainingStepOperator):
    """Filters the queries and splits them by episode. Returns the counts."""

    def execute(self, context: Context) -> dict[str, Any]:
        from include.episodes import snapshot
        from include.evaluation.queries import load_curated
        from include.retriever.training import write_pairs

        held_out: set[str] = set()
        if path := self.settings.curated_queries_path:
            known = snapshot.read(self.store, self.plan.snapshot_id, columns=["episode_id"])["episode_id"].to_pylist()
            held_out = {key for ids in load_curated(path, set(known)).query_set.relevant for key in ids}
        return write_pairs(self.store, self.plan, held_out=held_out).model_dump()


class FineTuneOperator(TrainingStepOperator):
    """Fine-tunes the base model, measured in-batch before and after. A retry goes on from the last checkpoint.

    Returns the in-batch metrics.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from include.retriever.device import prepare_device
        from include.retriever.training import train

        device = prepare_device(self.settings.device, self.settings.threads)
        return train(self.store, self.plan, device=device, work_root=self.settings.work_root).metrics


class RegisterModelOperator(TrainingStepOperator):
    """Puts the trained model into the registry and announces it. Returns its version."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(outlets=[RETRIEVER], **kwargs)

    def execute(self, context: Context) -> str:
        from include.retriever.training import register_trained

        manifest = register_trained(self.store, self.plan, work_root=self.settings.work_root)
        self.announce(
            context,
            RETRIEVER,
            {"model_version": manifest.version, "training_id": manifest.training_id, "metrics": manifest.metrics},
        )
        return manifest.version
