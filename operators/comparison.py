"""First tasks of ``reindex_episodes``: which models to compare, measuring each, letting the candidate pass or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators.alerts import report_gate
from operators.base import PodsearchOperator
from operators.gpu import GpuOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.devices.device import Device
    from include.evaluation.comparison import ModelComparison
    from include.evaluation.run import EvaluationPlan


class PlanComparisonOperator(PodsearchOperator):
    """Finds out whether there is anything to do; if so, fixes which models are measured, and on what.

    Returns one ``{"model_version": …}`` for each model; the comparison's id is pushed under ``comparison_id``.
    Skips the run when search is up to date.
    """

    def execute(self, context: Context) -> list[dict[str, str]]:
        from include.episodes import snapshot
        from include.evaluation.comparison import find_candidate, plan_comparison
        from include.index.live import read_live
        from include.index.plan import plan_reindex
        from include.retriever.encoders.variants import ensure_precision
        from include.retriever.registry import ensure_base, newest_trained
        from operators.pinecone import open_index

        settings = self.settings
        if snapshot.latest(self.store) is None:
            self.skip_run("There are no episodes yet: ingest_episodes brings them and starts this DAG.")
        live = read_live(self.store)
        if live is None and newest_trained(self.store) is None and context["dag_run"].run_type != "manual":
            # Filling an index with the base model, to fill another within the hour, would pay for everything twice.
            self.skip_run(
                "No model was trained yet: train_retriever starts this DAG again when it has one. "
                "Trigger it by hand to index with the base model now."
            )
        precision = settings.encoder_precision
        base = ensure_precision(
            self.store, ensure_base(self.store, settings.base_model, "cpu").version, precision
        ).version
        candidate = find_candidate(
            self.store, base=base, live=live, tolerance=settings.gate_tolerance, precision=precision
        )
        incumbent = live.model_version if live else base
        plan = plan_reindex(self.store, model_version=incumbent, live=live)
        if candidate is None and plan.action == "nothing" and plan.namespace in open_index(settings).namespaces():
            self.skip_run("Search is up to date: no new snapshot and no new model.")
        comparison = plan_comparison(
            self.store,
            base=base,
            live=live,
            candidate=candidate,
            curated_path=settings.curated_queries_path,
            catalogue_size=settings.evaluation_catalogue,
            max_queries=settings.evaluation_queries,
            seed=settings.seed,
        )
        self.log.info("Comparing %s.", comparison.roles)
        context["ti"].xcom_push(key="comparison_id", value=comparison.comparison_id)
        return [{"model_version": version} for version in comparison.models]


class ComparisonStepOperator(PodsearchOperator):
    """A step of a comparison of models.

    :param comparison_id: the comparison (templated).
    """

    template_fields: Sequence[str] = ("comparison_id",)

    def __init__(self, *, comparison_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.comparison_id = comparison_id

    def load_comparison(self) -> tuple[ModelComparison, EvaluationPlan]:
        from include.evaluation.comparison import load_comparison

        return load_comparison(self.store, self.comparison_id)


class EvaluateModelOperator(GpuOperator, ComparisonStepOperator):
    """Measures one model by exact search over the evaluation catalogue; mapped over the models.

    Returns the mean metrics by query set.

    :param model_version: the model.
    """

    def __init__(self, *, model_version: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_version = model_version

    def before_lease(self, context: Context) -> dict[str, Any] | None:
        from include.evaluation.publish import headline_metrics
        from include.evaluation.run import is_evaluated

        _, evaluation = self.load_comparison()
        if not is_evaluated(self.store, evaluation.evaluation_id, self.model_version):
            return None
        self.log.info("%s was measured before.", self.model_version)
        return headline_metrics(self.store, evaluation.evaluation_id, self.model_version)

    def execute_on(self, device: Device, context: Context) -> dict[str, Any]:
        from include.evaluation.publish import headline_metrics
        from include.evaluation.run import evaluate_model
        from include.retriever.encoders.opening import open_encoder

        _, evaluation = self.load_comparison()
        model = open_encoder(self.store, self.model_version, device.torch)
        batch_size = self.settings.encode_batch_size
        evaluate_model(self.store, evaluation, model, self.model_version, batch_size=batch_size)
        return headline_metrics(self.store, evaluation.evaluation_id, self.model_version)


class GateOperator(ComparisonStepOperator):
    """Decides whether the candidate may go live. Returns the version of the model to index with."""

    def execute(self, context: Context) -> str:
        from include.evaluation.comparison import choose_model, load_decision

        comparison, _ = self.load_comparison()
        settings = self.settings
        chosen = choose_model(self.store, comparison, tolerance=settings.gate_tolerance, seed=settings.seed)
        decision = load_decision(self.store, self.comparison_id)
        if comparison.candidate and decision:
            report_gate(comparison.candidate, decision)
        return chosen
