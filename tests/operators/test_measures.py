"""What operators tell of their work, as Airflow sends it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk._shared.observability.metrics import stats
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk.execution_time.context import set_current_context

from include.feedback.figures import Day
from include.index.estimate import FILE, Timing
from include.index.live import NOTHING, require_live
from include.index.plan import plan_reindex
from include.retriever.registry import ensure_base
from include.settings import get_settings
from include.storage import ArtifactStore
from operators.base import PodsearchOperator
from operators.comparison import EvaluateModelOperator, PlanComparisonOperator
from operators.gpu import GpuOperator
from operators.measures import Count, Gauge, work
from operators.reindex import EncodeShardOperator, PlanReindexOperator
from operators.training import GenerateQueriesOperator, PlanTrainingOperator
from operators.watch import CheckFreshnessOperator, CheckLagOperator, CheckListeningOperator, CheckSearchOperator
from tests.deploy.observability.test_observability import ENVIRONMENT
from tests.include.index.workshop import write_live
from tests.include.search.catalogue import make_live
from tests.models import build_model
from tests.operators.conftest import FakeContext, Installation, ingest
from tests.standins.otlp import OtlpStandIn, airflow_metrics, flush
from tests.t5 import build_t5


@pytest.fixture
def collector() -> Iterator[OtlpStandIn]:
    with airflow_metrics(ENVIRONMENT) as standin:
        yield standin


def execute(operator: PodsearchOperator, context: FakeContext | None = None) -> Any:
    own: Any = context or FakeContext()
    with set_current_context(own):
        returned = operator.execute(own)
    flush()
    return returned


def test_what_was_ingested_and_what_was_not(installation: Installation, collector: OtlpStandIn) -> None:
    with (installation.dataset / "episodes.csv").open("a") as file:
        file.write("e9,,,,,,p0\n")
    ingest(FakeContext())
    flush()
    assert collector.value("airflow_podsearch_snapshot_episodes") == 6
    quarantined = {
        dict(labels)["reason"]: value
        for (name, labels), value in collector.values.items()
        if name == "airflow_podsearch_snapshot_quarantined"
    }
    assert sum(quarantined.values()) == 1
    assert quarantined["orphan"] == 0, "a reason that has gone is told, too"


def test_what_listeners_found_yesterday(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, collector: OtlpStandIn
) -> None:
    monkeypatch.setenv("PODSEARCH_RECORD_SEARCHES_DAYS", "30")
    get_settings.cache_clear()
    for ago, searches in ((0, 3), (1, 80)):
        day = Day(day=datetime.now(UTC).date() - timedelta(days=ago), searches=searches, successful=searches // 2)
        installation.store.write_json(day.model_dump(mode="json"), "feedback", "days", f"{day.day}.json")
    execute(CheckListeningOperator(task_id="check"))
    assert collector.value("airflow_podsearch_listeners_searches") == 80
    assert collector.value("airflow_podsearch_listeners_success") == 0.5
    assert collector.value("airflow_podsearch_listeners_mrr") is None, "nothing was played"


def test_what_a_reindex_will_cost(installation: Installation, collector: OtlpStandIn, tmp_path: Path) -> None:
    installation.publish_snapshot()
    installation.register_model(tmp_path / "tuned", "tuned")
    plan = PlanReindexOperator(task_id="plan_reindex", model_version="tuned", live=NOTHING)
    execute(plan)
    vectors = [collector.value("airflow_podsearch_plan_vectors", work=one) for one in ("embed", "write", "delete")]
    assert vectors == [6, 6, 0]
    assert collector.value("airflow_podsearch_plan_seconds") is None, "nothing similar was measured yet"

    measured = Timing(
        plan_id="p", seconds={"encode_shard": 30.0, "upsert_shard": 3.0}, vectors={"encode_shard": 3, "upsert_shard": 6}
    )
    installation.store.write_json([measured.model_dump()], FILE)
    execute(plan)
    assert collector.value("airflow_podsearch_plan_seconds") == 63


def test_texts_that_are_embedded_to_measure_a_model_are_counted_once(
    installation: Installation, collector: OtlpStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A small catalogue is embedded then, and nothing of it is left for ``encode_shard``."""
    installation.publish_snapshot()
    monkeypatch.setenv("PODSEARCH_BASE_MODEL", str(build_model(tmp_path)))
    monkeypatch.setenv("PODSEARCH_DEVICE", "cpu")
    get_settings.cache_clear()
    planned = FakeContext(run_type="manual")
    [mapped] = execute(PlanComparisonOperator(task_id="plan_comparison"), planned)
    for _ in range(2):
        comparison_id = planned.ti.pushed["comparison_id"]
        execute(EvaluateModelOperator(task_id="evaluate_model", comparison_id=comparison_id, **mapped))
        assert collector.value("airflow_podsearch_embeddings_total") == 6


def test_tokens_are_measured_where_texts_are_encoded(
    installation: Installation, collector: OtlpStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PODSEARCH_DEVICE", "cpu")
    get_settings.cache_clear()
    installation.publish_snapshot()
    version = ensure_base(installation.store, str(build_model(tmp_path)), "cpu").version
    plan = plan_reindex(installation.store, model_version=version, live=None)
    execute(EncodeShardOperator(task_id="encode_shard", plan_id=plan.plan_id, live=NOTHING, shard=plan.shards[0]))
    texts = collector.value("airflow_podsearch_embeddings_per_second")
    tokens = collector.value("airflow_podsearch_embedding_tokens_per_second")
    assert texts
    assert tokens
    assert tokens > 2 * texts, "each has a token before it and one behind it, too"


@pytest.mark.parametrize("generator", ["extractive", "doc2query"])
def test_tokens_are_measured_where_a_model_writes_queries(
    installation: Installation, collector: OtlpStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, generator: str
) -> None:
    t5 = str(build_t5(tmp_path / "t5"))
    for name, value in (
        ("QUERY_GENERATOR", generator),
        ("GENERATOR_MODEL", t5),
        ("GENERATOR_MULTILINGUAL_MODEL", t5),
        ("DEVICE", "cpu"),
    ):
        monkeypatch.setenv(f"PODSEARCH_{name}", value)
    get_settings.cache_clear()
    installation.publish_snapshot()
    planned = FakeContext()
    first, *_ = execute(PlanTrainingOperator(task_id="plan_training", force=False), planned)
    training_id = planned.ti.pushed["training_id"]
    execute(GenerateQueriesOperator(task_id="generate_queries", training_id=training_id, gpus=0, **first))
    queries = collector.value("airflow_podsearch_queries_per_second")
    tokens = collector.value("airflow_podsearch_query_tokens_per_second")
    assert queries
    assert tokens is None if generator == "extractive" else tokens and tokens > queries


def test_what_is_live_and_how_well_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collector: OtlpStandIn
) -> None:
    home = make_live(tmp_path / "home")
    monkeypatch.setenv("PODSEARCH_HOME", str(home))
    get_settings.cache_clear()
    store = ArtifactStore(get_settings().installation.artifacts_root)
    write_live(store, require_live(store).model_copy(update={"metrics": {"test": {"recall@30": 0.75}}}))
    for operator in (CheckFreshnessOperator, CheckLagOperator, CheckSearchOperator):
        execute(operator(task_id="check"))
    get_settings.cache_clear()
    age = collector.value("airflow_podsearch_snapshot_age_seconds")
    assert age is not None
    assert 0 < age < 600
    assert collector.value("airflow_podsearch_index_lag_seconds") == 0
    assert collector.value("airflow_podsearch_index_records") == 15
    assert collector.value("airflow_podsearch_live_quality", queries="test", metric="recall@30") == 0.75
    asked = collector.value("airflow_podsearch_search_asked")
    assert asked == collector.value("airflow_podsearch_search_answered") == 10


def test_counts_of_tasks_are_added_up_and_rates_are_of_the_last(collector: OtlpStandIn) -> None:
    for number, seconds in ((100, 10.0), (50, 10.0), (0, 0.0)):
        work(Count.EMBEDDINGS, Gauge.EMBEDDING_RATE, number, seconds)
        flush()
    assert collector.value("airflow_podsearch_embeddings_total") == 150
    assert collector.value("airflow_podsearch_embeddings_per_second") == 5


class Compute(GpuOperator):
    """Holds its GPUs for a moment."""

    def execute(self, context: Any) -> None:
        with self.leased(context):
            self.usage.gpus = 2


def test_gpu_seconds_are_counted_by_task(
    installation: Installation, collector: OtlpStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODSEARCH_DEVICE", "cpu")
    get_settings.cache_clear()
    execute(Compute(task_id="fine_tune"))
    assert collector.value("airflow_podsearch_gpu_seconds_total", task_id="fine_tune") is not None


def test_off_is_the_default(installation: Installation) -> None:
    """Nothing is sent, and nothing fails, where nobody has switched metrics on."""
    work(Count.UPSERTS, Gauge.UPSERT_RATE, 1, 1.0)
    assert isinstance(stats._get_backend(), NoStatsLogger)
