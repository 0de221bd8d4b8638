"""The first tasks of ``reindex_episodes``: choose the models to compare, measure each, and apply the gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param

from include.errors import PermanentError
from operators.alerts import ApprovalAwaited
from operators.approval import ANSWER_WITHIN, responder
from operators.base import PodsearchOperator
from operators.gpu import GpuOperator
from operators.measures import Count, count
from operators.reports import report_answered, report_gate

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.evaluation.comparison import ModelComparison
    from include.evaluation.gate import Decision
    from include.evaluation.run import EvaluationPlan


class PlanComparisonOperator(PodsearchOperator):
    """Finds out whether there is anything to do; if so, decides which models are measured, and on what.

    Returns one ``{"model_version": …}`` for each model; the comparison's id is pushed under ``comparison_id``, and what
    is live under ``live``, for the tasks that decide and activate.
    Skips the run when search is up to date.
    """

    def execute(self, context: Context) -> list[dict[str, str]]:
        from include.episodes import snapshot
        from include.evaluation.comparison import find_candidate, plan_comparison
        from include.evaluation.gate import explained
        from include.index.live import RefusedModelError, live_entry, read_live, require_not_refused
        from include.index.plan import plan_reindex
        from include.retriever.encoders.variants import ensure_precision
        from include.retriever.registry import ensure_base, newest_trained
        from operators.pinecone import open_index

        settings = self.settings
        if overrules := context["params"].get("overrule_gate"):
            # Now, and not after hours of measuring models.
            explained(overrules, context["params"].get("overrule_reason") or "")
        if snapshot.latest(self.store) is None:
            self.skip_run("There are no episodes yet: ingest_episodes will bring some and start this DAG.")
        live = read_live(self.store)
        if live is None and newest_trained(self.store) is None and context["dag_run"].run_type != "manual":
            # Filling an index with the base model only to fill another within the hour would cost everything twice.
            self.skip_run(
                "No model was trained yet: train_retriever starts this DAG again when it has one. "
                "Trigger it by hand to index with the base model now."
            )
        precision = settings.index.encoder_precision
        base = ensure_precision(
            self.store, ensure_base(self.store, settings.training.base_model, "cpu").version, precision
        ).version
        candidate = find_candidate(
            self.store,
            base=base,
            live=live,
            tolerance=settings.evaluation.gate_tolerance,
            precision=precision,
            refused_too=bool(overrules),
        )
        if overrules and candidate is None:
            raise PermanentError(
                "There is no model to decide about: the newest trained model is live, or none has been trained. "
                "Trigger the run without “Overrule the gate”."
            )
        incumbent = live.model_version if live else base
        plan = plan_reindex(self.store, model_version=incumbent, live=live)
        if candidate is None:
            try:
                require_not_refused(live, incumbent, plan.namespace)
            except RefusedModelError as refused:
                self.skip_run(f"There is no new model. {refused}")
        if candidate is None and plan.action == "nothing" and plan.namespace in open_index(settings).namespaces():
            self.skip_run("Search is up to date: no new snapshot and no new model.")
        comparison = plan_comparison(
            self.store,
            base=base,
            live=live,
            candidate=candidate,
            curated_path=settings.curated_queries_path,
            hybrid_weight=settings.search.hybrid_weight,
        )
        self.log.info("Comparing %s.", comparison.roles)
        context["ti"].xcom_push(key="comparison_id", value=comparison.comparison_id)
        context["ti"].xcom_push(key="live", value=live_entry(live))
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

    def execute(self, context: Context) -> dict[str, Any]:
        from include.evaluation.publish import headline_metrics
        from include.evaluation.run import evaluate_model, is_evaluated
        from include.retriever.encoders.opening import open_encoder

        _, evaluation = self.load_comparison()
        if is_evaluated(self.store, evaluation.evaluation_id, self.model_version):
            self.log.info("%s was measured before.", self.model_version)
            self.computes_nothing(context)
        else:
            with self.leased(context) as device:
                model = open_encoder(self.store, self.model_version, device.kind, threads=device.threads)
                embedded = evaluate_model(self.store, evaluation, model, self.model_version)
            count(Count.EMBEDDINGS, embedded)
        return headline_metrics(self.store, evaluation.evaluation_id, self.model_version)


class GateOperator(ComparisonStepOperator, HITLOperator):
    """Decides whether the candidate may go live. Returns the version of the model to index with.

    A person can decide instead, by the run's parameters ``overrule_gate`` and ``overrule_reason``, and is asked if
    there are too few queries to be sure and the settings are strict. It decides nothing if something else went live
    since the run started.

    :param live: what was live then (templated).
    """

    ACCEPT, REFUSE = "Accept", "Refuse"

    template_fields: Sequence[str] = (
        *ComparisonStepOperator.template_fields,
        "live",
        *HITLOperator.template_fields,
    )

    def __init__(self, *, live: str, params: Any = None, **kwargs: Any) -> None:
        self.live = live
        reason = Param("", type="string", source="task", title="Reason", description="Kept with the decision.")
        super().__init__(
            subject="Accept the new model?",  # which one is known only once the task runs
            options=[self.ACCEPT, self.REFUSE],
            defaults=self.REFUSE,
            params={"reason": reason},  # and none of the DAG's, which Airflow hands over: all would be asked for
            response_timeout=ANSWER_WITHIN,
            notifiers=[ApprovalAwaited()],
            **kwargs,
        )

    def execute(self, context: Context) -> Any:
        from include.evaluation.comparison import judge
        from include.evaluation.gate import overrule
        from include.index.live import read_live, require_seen

        with self.unless_overtaken():  # before a person is asked about what is past
            require_seen(read_live(self.store), self.live)
        comparison, _ = self.load_comparison()
        decision = judge(self.store, comparison, tolerance=self.settings.evaluation.gate_tolerance)
        if decision is None:
            return self.keep(comparison, decision)
        asked = context["params"]
        if verdict := asked.get("overrule_gate"):
            by = getattr(context["dag_run"], "triggering_user_name", None)
            decision = overrule(decision, verdict, reason=asked.get("overrule_reason") or "", by=by)
        elif self.settings.evaluation.gate_rule == "strict" and not decision.is_sure:
            self.subject = f"Accept the new model {comparison.candidate}?"
            self.body = "\n".join(f"- {reason}" for reason in decision.reasons)
            self.log.info("%s Asking a person, in Airflow's pages:\n%s", self.subject, self.body)
            return super().execute(context)
        report_answered(self.task_id)
        return self.keep(comparison, decision)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        from include.evaluation.comparison import judge
        from include.evaluation.gate import overrule

        super().execute_complete(context, event)
        comparison, _ = self.load_comparison()
        decision = judge(self.store, comparison, tolerance=self.settings.evaluation.gate_tolerance)
        if decision is None:
            raise ValueError(f"The comparison {self.comparison_id} has no candidate any more.")
        by = responder(event)
        reason = (event.get("params_input") or {}).get("reason") or "no reason given"
        decision = overrule(
            decision,
            "accept" if event["chosen_options"] == [self.ACCEPT] else "refuse",
            reason=reason if by else "nobody answered in time",
            by=by,
        )
        if by:  # else it is asked again, and the fault is the same
            report_answered(self.task_id)
        return self.keep(comparison, decision, for_later=bool(by))

    def keep(self, comparison: ModelComparison, decision: Decision | None, *, for_later: bool = True) -> str:
        from include.evaluation.comparison import keep_decision

        with self.unless_overtaken():
            chosen = keep_decision(self.store, comparison, decision, for_later=for_later, seen=self.live)
        if comparison.candidate and decision:
            report_gate(comparison.candidate, decision)
        return chosen
