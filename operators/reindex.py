"""Tasks of ``reindex_episodes`` on the index: plan, encode, write, verify, report, activate, retire."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from operators.base import PodsearchOperator
from operators.gpu import GpuOperator
from operators.lineage import Data, Lineage
from operators.links import ReportLink, page_url
from operators.measures import Count, Gauge, gauge, pace, work
from operators.names import LIVE_INDEX
from operators.reports import report_live

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.index.plan import Plan


class PlanReindexOperator(PodsearchOperator):
    """Plans for the chosen model: nothing, a difference or a full build. Shows the plan with its cost.

    Returns one ``{"shard": …}`` for each shard with something to write; the plan's id is pushed under ``plan_id``, its
    cost under ``cost``.

    :param model_version: the model to index with (templated).
    :param live: what was live when the model was chosen (templated).
    """

    template_fields: Sequence[str] = ("model_version", "live")

    def __init__(self, *, model_version: str, live: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_version = model_version
        self.live = live

    def execute(self, context: Context) -> list[dict[str, int]]:
        from include.index.estimate import estimate
        from include.index.live import RefusedModelError, read_live, require_not_refused, require_seen
        from include.index.plan import forget_lost, namespace_of, plan_reindex
        from operators.pinecone import open_index

        live = read_live(self.store)
        with self.unless_overtaken():
            require_seen(live, self.live)
        try:
            require_not_refused(live, self.model_version, namespace_of(self.model_version))
        except RefusedModelError as refused:
            self.skip_run(str(refused))
        forget_lost(self.store, namespace_of(self.model_version), open_index(self.settings))
        plan = plan_reindex(self.store, model_version=self.model_version, live=live)
        cost = estimate(self.store, plan)
        self.log.info("Plan: %s.", plan.summary)
        self.log.info("Estimated cost: %s.", cost)
        context["ti"].xcom_push(key="plan_id", value=plan.plan_id)
        context["ti"].xcom_push(key="cost", value=cost.model_dump())
        for planned, vectors in (("embed", cost.embed), ("write", cost.write), ("delete", cost.delete)):
            gauge(Gauge.PLAN_VECTORS, vectors, work=planned)
        if cost.seconds is not None:
            gauge(Gauge.PLAN_SECONDS, cost.seconds)
        # A task mapped over nothing would be skipped, and what follows with it: one idle shard is simpler.
        return [{"shard": shard} for shard in plan.shards or [0]]


@dataclass
class Timing:
    """What is kept of a step."""

    vectors: int | None = None
    """How many it had to do with."""
    seconds: float = 0.0
    """How long it took, once it has ended."""


class ReindexStepOperator(PodsearchOperator):
    """A step of a planned re-index; its duration (:meth:`timed`) is recorded for the report.

    :param plan_id: the plan (templated).
    :param live: what was live when the run began (templated).
    """

    template_fields: Sequence[str] = ("plan_id", "live")

    def __init__(self, *, plan_id: str, live: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_id = plan_id
        self.live = live

    @cached_property
    def plan(self) -> Plan:
        from include.index.plan import load_plan, require_not_overtaken

        plan = load_plan(self.store, self.plan_id)
        with self.unless_overtaken():
            require_not_overtaken(self.store, plan, seen=self.live)
        return plan

    @contextmanager
    def timed(self, context: Context) -> Iterator[Timing]:
        """A block that does the step: its duration is recorded if it succeeds.

        If a newer run has overtaken this one, the run ends here.
        """
        from include.index.plan import note_seconds

        started, timing = time.monotonic(), Timing()
        with self.unless_overtaken():
            yield timing
        timing.seconds, index = time.monotonic() - started, max(context["ti"].map_index or 0, 0)
        note_seconds(self.store, self.plan_id, self.task_id, index, timing.seconds, vectors=timing.vectors)

    def indexed(self, rows: int | None = None) -> Data:
        """The namespace, for lineage."""
        name = f"{self.settings.index_name}/{self.plan.namespace}"
        return Data(name, self.plan.snapshot_id, rows, backend=self.settings.index.backend)


class PrepareNamespaceOperator(ReindexStepOperator):
    """Creates the namespace that the plan writes to, and notes that it is being written to.

    If something else went live since the run started, nothing is written.
    """

    def execute(self, context: Context) -> None:
        from include.index.live import read_live, require_seen
        from include.index.write import prepare_namespace
        from include.retriever.registry import load_manifest
        from operators.pinecone import open_index

        plan = self.plan
        with self.timed(context):
            require_seen(read_live(self.store), self.live, own=(plan.namespace, plan.snapshot_id))
            dimension = load_manifest(self.store, plan.model_version).dimension
            prepare_namespace(self.store, open_index(self.settings), plan, dimension)


class EncodeShardOperator(GpuOperator, ReindexStepOperator):
    """Encodes the texts in the plan that no run has encoded before; mapped over shards. Returns how many.

    :param shard: the shard's number.
    """

    def __init__(self, *, shard: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    def execute(self, context: Context) -> int:
        from include.index.write import encode_shard, texts_to_encode
        from include.retriever.encoders.opening import open_encoder

        plan = self.plan
        texts = texts_to_encode(self.store, plan, self.shard)
        if not texts:
            self.log.info("Shard %d: every text has been encoded before.", self.shard)
            self.computes_nothing(context)
            return 0
        with self.leased(context) as device, self.timed(context) as timing:  # waiting for a device does not count
            model = open_encoder(self.store, plan.model_version, device.kind, threads=device.threads)
            timing.vectors = encode_shard(self.store, plan, self.shard, texts, model)
        work(Count.EMBEDDINGS, Gauge.EMBEDDING_RATE, timing.vectors, timing.seconds)
        if model.tokens:
            pace(Gauge.EMBEDDING_TOKENS_RATE, model.tokens, timing.seconds)
        self.lineage = Lineage(
            reads=(Data("snapshots", plan.snapshot_id), Data("models", plan.model_version)),
            writes=(Data("embeddings", plan.model_version, timing.vectors),),
        )
        return timing.vectors


class UpsertShardOperator(ReindexStepOperator):
    """Writes the planned records of one shard; mapped over shards. Returns how many.

    :param shard: the shard's number.
    """

    def __init__(self, *, shard: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    def execute(self, context: Context) -> int:
        from include.index.write import upsert_shard
        from operators.pinecone import open_index

        plan = self.plan
        with self.timed(context) as timing:
            timing.vectors = upsert_shard(self.store, open_index(self.settings), plan, self.shard)
        work(Count.UPSERTS, Gauge.UPSERT_RATE, timing.vectors, timing.seconds)
        self.lineage = Lineage(
            reads=(Data("snapshots", plan.snapshot_id), Data("embeddings", plan.model_version)),
            writes=(self.indexed(timing.vectors),),
        )
        return timing.vectors


class DeleteWithdrawnOperator(ReindexStepOperator):
    """Deletes what the snapshot does not have. Returns how many."""

    def execute(self, context: Context) -> int:
        from include.index.write import delete_withdrawn
        from operators.pinecone import open_index

        plan = self.plan
        with self.timed(context) as timing:
            timing.vectors = delete_withdrawn(self.store, open_index(self.settings), plan)
            return timing.vectors


class FinishIndexOperator(ReindexStepOperator):
    """Prepares the namespace for searching: builds the approximate index of a large one. Returns how it is searched."""

    def execute(self, context: Context) -> str:
        from include.index.write import finish_namespace
        from operators.pinecone import open_index

        plan = self.plan
        with self.timed(context):
            return finish_namespace(self.store, open_index(self.settings), plan)


class VerifyIndexOperator(GpuOperator, ReindexStepOperator):
    """Checks the namespace against the snapshot, and its answers against exact search.

    Returns what was verified.

    :param comparison_id: the comparison whose queries are asked (templated).
    """

    template_fields: Sequence[str] = (*ReindexStepOperator.template_fields, "comparison_id")

    def __init__(self, *, comparison_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.comparison_id = comparison_id

    def execute(self, context: Context) -> dict[str, Any]:
        from include.evaluation.comparison import sample_queries
        from include.index.recall import MAX_QUERIES, require_recall
        from include.index.write import verify
        from include.retriever.encoders.opening import open_encoder
        from operators.pinecone import open_index

        plan = self.plan
        queries = sample_queries(self.store, self.comparison_id, MAX_QUERIES)
        with self.leased(context) as device, self.timed(context):
            index = open_index(self.settings)
            verification = verify(self.store, index, plan)
            if queries:
                model = open_encoder(self.store, plan.model_version, device.kind, threads=device.threads)
                verification.queries = len(queries)
                vectors = model.encode(queries, kind="query")
                verification.recall = require_recall(self.store, index, plan, vectors)
        return verification.model_dump()


class PublishReportOperator(ReindexStepOperator):
    """Writes the evaluation report. Returns its path in the artifact store.

    :param comparison_id: the comparison it reports (templated).
    :param verification: the result of the verifying task.
    """

    template_fields: Sequence[str] = (*ReindexStepOperator.template_fields, "comparison_id", "verification")
    operator_extra_links = (ReportLink(),)

    def __init__(self, *, comparison_id: str, verification: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.comparison_id = comparison_id
        self.verification = verification

    def execute(self, context: Context) -> str:
        from include.evaluation.comparison import load_comparison
        from include.evaluation.publish import publish_report
        from include.index.live import read_live
        from include.index.plan import read_seconds
        from include.index.write import Verification

        plan = self.plan
        with self.timed(context):
            comparison, evaluation = load_comparison(self.store, self.comparison_id)
            path = publish_report(
                self.store,
                plan=plan,
                comparison=comparison,
                evaluation=evaluation,
                live=read_live(self.store),
                backend=self.settings.index.backend,
                verification=Verification.model_validate(self.verification),
                timings=read_seconds(self.store, plan.plan_id),
            )
        self.log.info("The report is at %s.", self.store.path(path))
        return path


class ActivateOperator(ReindexStepOperator):
    """Flips the live pointer to the verified namespace and announces it. Returns the pointer.

    If something else went live since the run began, nothing is done.

    :param verification: the result of the task that verified the namespace.
    :param comparison_id: where the model's metrics come from (templated).
    :param report: path of the report (templated).
    """

    template_fields: Sequence[str] = (*ReindexStepOperator.template_fields, "comparison_id", "verification", "report")

    def __init__(self, *, comparison_id: str, verification: Any, report: str, **kwargs: Any) -> None:
        super().__init__(outlets=[LIVE_INDEX], **kwargs)
        self.verification = verification
        self.comparison_id = comparison_id
        self.report = report

    def execute(self, context: Context) -> dict[str, Any]:
        from include.evaluation.comparison import load_comparison
        from include.evaluation.publish import approved_by, headline_metrics
        from include.index.estimate import keep_timing
        from include.index.live import activate
        from include.index.write import Verification, require_verified

        plan = self.plan
        with self.timed(context):
            require_verified(self.store, plan, Verification.model_validate(self.verification))
            comparison, _ = load_comparison(self.store, self.comparison_id)
            live = activate(
                self.store,
                backend=self.settings.index.backend,
                index=self.settings.index_name,
                namespace=plan.namespace,
                model_version=plan.model_version,
                snapshot_id=plan.snapshot_id,
                metrics=headline_metrics(self.store, comparison.evaluation_id, plan.model_version),
                report=self.report,
                seen=self.live,
                approved_by=approved_by(self.store, comparison_id=self.comparison_id, plan_id=plan.plan_id),
            )
        self.log.info("Live: %s on snapshot %s.", plan.namespace, plan.snapshot_id)
        keep_timing(self.store, plan)
        report_live(plan.model_version)
        pointer = live.model_dump(mode="json", exclude={"previous"})
        self.lineage = Lineage(reads=(self.indexed(),), writes=(Data("live.json", live.entry),))
        counts = {"added": plan.added, "changed": plan.changed, "removed": plan.removed, "unchanged": plan.unchanged}
        self.announce(context, LIVE_INDEX, {**pointer, "counts": counts, "report_page": page_url(self.report)})
        return pointer


class RetireOperator(PodsearchOperator):
    """Drops namespaces that neither search nor a rollback needs, and models that nothing needs. Returns their names."""

    def execute(self, context: Context) -> dict[str, list[str]]:
        from include.index.retire import retire
        from include.index.retire_models import retire_models
        from operators.pinecone import open_index

        index = open_index(self.settings)
        return {
            "namespaces": retire(self.store, index, keep=self.settings.index.keep_namespaces),
            "models": retire_models(self.store, index),
        }
