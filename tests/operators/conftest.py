"""An installation in a temporary folder, and as much of Airflow's context as an operator looks at."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar, cast

import pytest
from airflow.sdk import Asset, Context
from airflow.sdk.execution_time.context import OutletEventAccessors

from include.episodes import snapshot
from include.episodes.columns import COLUMNS
from include.episodes.ingest import make_snapshot
from include.index.live import activate
from include.index.plan import namespace_of
from include.retriever.manifest import ModelManifest
from include.retriever.recipe import read_recipe
from include.retriever.registry import register
from include.settings import Settings, get_settings
from include.storage import ArtifactStore, digest
from operators.episodes import (
    CheckSourceOperator,
    FetchDatasetOperator,
    PrepareSnapshotOperator,
    PublishSnapshotOperator,
)
from tests.standins.webhook import WebhookStandIn

Returned = TypeVar("Returned", covariant=True)


class FakeTaskInstance:
    """Keeps what is pushed."""

    def __init__(self, map_index: int = -1) -> None:
        self.map_index = map_index
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@dataclass
class FakeContext:
    """The context of one task."""

    ti: FakeTaskInstance = field(default_factory=FakeTaskInstance)
    outlet_events: OutletEventAccessors = field(default_factory=OutletEventAccessors)
    run_type: str = "asset_triggered"
    params: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        return {
            "ti": self.ti,
            "outlet_events": self.outlet_events,
            "dag_run": SimpleNamespace(run_type=self.run_type),
            "params": self.params,
        }[key]

    def announced(self, asset: Asset) -> dict[str, Any]:
        """What was attached to the event of an asset."""
        return dict(self.outlet_events[asset].extra)


class Installation:
    """podsearch with a dataset of two shows, in a folder of its own."""

    base_model = "some/base"

    def __init__(self, folder: Path) -> None:
        self.dataset = folder / "dataset"
        self.dataset.mkdir()
        self.write_dataset()

    @property
    def settings(self) -> Settings:
        return get_settings()

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.settings.installation.artifacts_root)

    def write_dataset(self, episodes: int = 6) -> None:
        shows = [
            {"uuid": f"p{n}", "title": f"Show {n}", "description": "About it", "language": "English"} for n in (0, 1)
        ]
        rows = [
            {
                "uuid": f"e{n}",
                "title": f"Episode {n}",
                "audio_length": "60",
                "pub_date": "2017-12-01 05:00:00+00",
                "description": f"We talk about the number {n}",
                "podcast_uuid": f"p{n % 2}",
            }
            for n in range(episodes)
        ]
        for name, table in (("podcasts", shows), ("episodes", rows)):
            with (self.dataset / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS[name])
                writer.writeheader()
                writer.writerows(table)

    def write_snapshot(self, source_version: str = "v1") -> str:
        """Prepare the dataset as it is; the snapshot's id."""
        return make_snapshot(
            self.store,
            self.dataset,
            source_version=source_version,
            unchanged=lambda: None,
            work_root=self.settings.installation.work_root,
            shards=2,
            threads=1,
            max_file_bytes=2**20,
        ).snapshot_id

    def publish_snapshot(self, source_version: str = "v1") -> str:
        return snapshot.publish(self.store, self.write_snapshot(source_version)).snapshot_id

    def register_model(self, folder: Path, version: str, **values: Any) -> ModelManifest:
        """Put a model without weights into the registry."""
        folder.mkdir()
        manifest = {
            "version": version,
            "kind": "fine-tuned",
            "base_model": self.settings.training.base_model,
            "dimension": 4,
            "max_seq_length": 16,
            "registered_at": datetime.now(UTC),
            "recipe": read_recipe(self.settings.training.recipe).model_dump(),
        }
        return register(self.store, folder, ModelManifest(**(manifest | values)))

    def register_base(self, folder: Path) -> str:
        """Have the base model of the settings in the registry, as if it had been loaded once."""
        self.register_model(folder, "base", kind="base", recipe={})
        self.store.write_json({"version": "base"}, "models", f"base-{digest(self.settings.training.base_model)}.json")
        return "base"

    def search_with_tuned(self, folder: Path) -> None:
        """Have a model live that was trained, beside the base model."""
        snapshot_id = self.publish_snapshot()
        self.register_base(folder / "base")
        self.register_model(folder / "tuned", "tuned")
        self.go_live("tuned", snapshot_id)

    def go_live(self, model_version: str, snapshot_id: str) -> None:
        activate(
            self.store,
            backend="lancedb",
            index=self.settings.index_root,
            namespace=namespace_of(model_version),
            model_version=model_version,
            snapshot_id=snapshot_id,
            metrics={},
            report=None,
        )


class Operator(Protocol[Returned]):
    """What can be executed."""

    def execute(self, context: Context) -> Returned: ...


def execute(operator: Operator[Returned], context: FakeContext) -> Returned:
    """What an operator returns in a context."""
    return operator.execute(cast("Context", context))


def ingest(context: FakeContext) -> dict[str, Any]:
    """Run the tasks of ingestion, without its validations, on whatever the settings have as the source."""
    version = execute(CheckSourceOperator(task_id="check_source"), context)
    folder = execute(FetchDatasetOperator(task_id="fetch_dataset", source_version=version), context)
    prepare = PrepareSnapshotOperator(task_id="prepare_snapshot", folder=folder, source_version=version)
    snapshot_id = execute(prepare, context)
    publish = PublishSnapshotOperator(
        task_id="publish_snapshot",
        snapshot_id=snapshot_id,
        source_version=version,
        latest=context.ti.pushed["latest"],
        run_name=version,
    )
    return execute(publish, context)


@contextmanager
def installed(folder: Path) -> Iterator[Installation]:
    """An installation that the settings are of until the end of the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODSEARCH_HOME", str(folder / "home"))
        patch.setenv("PODSEARCH_DATASET_DIR", str(folder / "dataset"))
        patch.setenv("PODSEARCH_BASE_MODEL", Installation.base_model)
        get_settings.cache_clear()
        yield Installation(folder)
    get_settings.cache_clear()


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with installed(tmp_path) as installation:
        yield installation


@pytest.fixture
def context() -> FakeContext:
    return FakeContext()


@pytest.fixture
def skips() -> Callable[..., str]:
    """Execute an operator that must skip its run; the reason."""
    from airflow.sdk.exceptions import AirflowSkipException

    def execute(operator: Any, context: FakeContext) -> str:
        with pytest.raises(AirflowSkipException) as raised:
            operator.execute(context)
        return str(raised.value)

    return execute


@pytest.fixture
def webhook(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebhookStandIn]:
    """An installation whose alerts go to a webhook."""
    with WebhookStandIn().serve() as standin:
        monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps(standin.connection()))
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example")
        for severity in ("CRITICAL", "WARNING"):
            monkeypatch.setenv(f"PODSEARCH_ALERTS_{severity}", "hook")
        get_settings.cache_clear()
        yield standin
