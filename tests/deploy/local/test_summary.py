from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from deploy.local.summary import EXAMPLES, show_summary
from include.episodes import snapshot
from include.episodes.schema import EPISODES
from include.evaluation.gate import Decision
from include.evaluation.metrics import METRIC_NAMES, Interval, ModelEvaluation
from include.evaluation.report import ReportData
from include.index.contract import Metadata, Records
from include.index.live import activate
from include.index.opening import open_index
from include.retriever.manifest import ModelManifest
from include.retriever.registry import register
from include.settings import Settings
from include.settings.groups import Installation
from include.storage import ArtifactStore
from tests.deploy.local.conftest import Terminal
from tests.include.episodes.catalogue import write_snapshot
from tests.models import DIMENSION, build_model

COUNTS = {"bad_date": 3, "empty_date": 0, "description_cut": 1_200, "episodes_read": 9, "description_in_html": 8}
MARKUP = "Sleep [red]well[/] [/bold]"


@pytest.fixture
def plain(tmp_path: Path) -> Settings:
    return Settings(installation=Installation(home=tmp_path / "home"))


@pytest.fixture
def store(plain: Settings) -> ArtifactStore:
    return ArtifactStore(plain.installation.artifacts_root)


def publish_snapshot(store: ArtifactStore) -> str:
    now = datetime(2017, 12, 1, tzinfo=UTC)
    texts = dict.fromkeys(field.name for field in EPISODES if field.type == pa.string())
    row = {**texts, "podcast_id": "p1", "title": MARKUP, "published_at": now, "duration_seconds": 60}
    for name in ("description", "show_title", "text", "content_hash"):
        row[name] = "some text"
    table = pa.Table.from_pylist([row | {"episode_id": f"e{n}"} for n in range(1_234)], schema=EPISODES)
    quarantined = {"missing_title": 1_001, "duplicate_id": 2}
    manifest = write_snapshot(store, table, source_version="v1", shards=1, counts=COUNTS, quarantined=quarantined)
    return snapshot.publish(store, manifest.snapshot_id).snapshot_id


def go_live(
    settings: Settings, store: ArtifactStore, folder: Path, snapshot_id: str, *, eval_queries: int = 30
) -> None:
    manifest = ModelManifest(
        version="tuned-1",
        kind="fine-tuned",
        base_model="base",
        dimension=DIMENSION,
        max_seq_length=96,
        registered_at=datetime.now(UTC),
        pairs={"title": 1_200, "lead": 34},
        metrics={"before": {"MRR@5": 0.5}, "after": {"MRR@5": 0.75}},
        eval_queries=eval_queries,
        seconds=61.4,
    )
    register(store, build_model(folder), manifest)
    index = open_index(settings)
    index.create("tuned-1", DIMENSION)
    metadata = Metadata(MARKUP, "[link=x]A show", "English", datetime(2017, 12, 1, tzinfo=UTC), "hash", "tuned-1")
    index.upsert("tuned-1", [Records(["e1"], np.eye(1, DIMENSION, dtype=np.float32), [metadata])])
    index.finish("tuned-1")
    report = ReportData(
        run_id="r",
        created_at=datetime.now(UTC),
        evaluations={
            role: [
                ModelEvaluation(
                    model_version=role,
                    query_set="test",
                    queries=1_000,
                    catalogue=1_234,
                    metrics={metric: Interval(mean=mean) for metric in METRIC_NAMES},
                )
            ]
            for role, mean in (("base", 0.123), ("candidate", 0.456))
        },
        decision=Decision(passed=True, tolerance=0.05, reasons=["a reason [in] brackets"]),
    )
    store.write_json(report.model_dump(mode="json"), "reports", "r", "report.json")
    activate(
        store,
        backend="lancedb",
        index=settings.index_root,
        namespace="tuned-1",
        model_version="tuned-1",
        snapshot_id=snapshot_id,
        metrics={},
        report="reports/r/index.html",
    )


def test_before_anything_is_live_it_says_so(plain: Settings, store: ArtifactStore, terminal: Terminal) -> None:
    show_summary(plain, terminal.console)
    assert terminal.lines == ["Nothing is live yet."]


def test_it_shows_what_was_ingested_trained_measured_and_found(
    plain: Settings, store: ArtifactStore, terminal: Terminal, tmp_path: Path
) -> None:
    snapshot_id = publish_snapshot(store)
    go_live(plain, store, tmp_path / "model", snapshot_id)

    show_summary(plain, terminal.console)

    for expected in (
        f"Ingested  1,234 episodes of 1 shows (snapshot {snapshot_id})",
        "quarantined: 1,001 missing_title, 2 duplicate_id",
        "kept with a warning: 1,200 description_cut, 3 bad_date\n",
        "Trained   tuned-1 on 1,234 pairs (1,200 title, 34 lead) in 61 s",
        "in-batch: MRR@5 0.500 → 0.750",
        "Gate      the candidate passed: it goes live",
        "a reason [in] brackets",
        f"Live      tuned-1 on snapshot {snapshot_id}",
        "reports/r/index.html",
    ):
        assert expected in terminal.text
    base, candidate = (next(line for line in terminal.lines if name in line) for name in ("Base model", "Candidate "))
    assert base.count("0.123") == candidate.count("0.456") == len(METRIC_NAMES)
    for query in EXAMPLES:
        assert query in terminal.text
    assert terminal.text.count(MARKUP) == len(EXAMPLES), "what stands in brackets is the podcast's"
    assert "[link=x]A show" in terminal.text


def test_metrics_of_a_handful_of_queries_are_not_shown(
    plain: Settings, store: ArtifactStore, terminal: Terminal, tmp_path: Path
) -> None:
    """All ten were right before the training, and after it: “MRR@5 1.000 → 1.000” says nothing."""
    go_live(plain, store, tmp_path / "model", publish_snapshot(store), eval_queries=29)
    show_summary(plain, terminal.console)
    assert "Trained   tuned-1" in terminal.text
    assert "in-batch" not in terminal.text
