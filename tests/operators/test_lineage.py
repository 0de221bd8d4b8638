"""What OpenLineage is told of a task, by Airflow's own provider, into a file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
from airflow.sdk import DAG
from airflow.utils.state import TaskInstanceState
from openlineage.client import OpenLineageClient
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.uuid import generate_new_uuid

from operators.base import PodsearchOperator
from operators.episodes import CheckSourceOperator, FetchDatasetOperator, PrepareSnapshotOperator
from operators.lineage import Data, Lineage, facets
from operators.reindex import ActivateOperator
from tests.operators.conftest import FakeContext, Installation


@pytest.fixture
def told(tmp_path: Path) -> Any:
    """Have the provider tell of an operator that has been executed; the event as it stands in the file."""
    file = tmp_path / "events.jsonl"
    transport = FileTransport(FileConfig(log_file_path=str(file), append=True))
    adapter = OpenLineageAdapter(client=OpenLineageClient(transport=transport))

    def tell(operator: PodsearchOperator) -> dict[str, Any]:
        run: Any = SimpleNamespace(run_id="run")
        manager: Any = ExtractorManager
        found = manager().extract_metadata(
            dagrun=run, task=operator, task_instance_state=TaskInstanceState.SUCCESS, task_instance=SimpleNamespace()
        )
        adapter.complete_task(
            run_id=str(generate_new_uuid()),
            job_name=f"{operator.dag_id}.{operator.task_id}",
            end_time=datetime.now(UTC).isoformat(),
            task=found,
            nominal_start_time=None,
            nominal_end_time=None,
            owners=None,
            tags=None,
            job_description=None,
        )
        event: dict[str, Any] = json.loads(file.read_text().splitlines()[-1])
        return event

    return tell


def test_datasets_versions_and_rows_of_a_snapshot(installation: Installation, told: Any) -> None:
    context: Any = FakeContext()
    version = CheckSourceOperator(task_id="check_source").execute(context)
    folder = FetchDatasetOperator(task_id="fetch_dataset", source_version=version).execute(context)
    with DAG("ingest_episodes"):
        prepare = PrepareSnapshotOperator(task_id="prepare_snapshot", folder=folder, source_version=version)
    snapshot_id = prepare.execute(context)
    event = told(prepare)
    assert (event["eventType"], event["job"]["name"]) == ("COMPLETE", "ingest_episodes.prepare_snapshot")
    root = installation.settings.installation.artifacts_root
    [read], [written] = event["inputs"], event["outputs"]
    assert read["facets"]["version"]["datasetVersion"] == version
    assert (written["namespace"], written["name"]) == ("file", f"{root}/snapshots")
    assert written["facets"]["version"]["datasetVersion"] == snapshot_id
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 6


def test_a_task_that_did_nothing_tells_of_no_dataset(installation: Installation, told: Any) -> None:
    with DAG("reindex_episodes"):
        operator = ActivateOperator(
            task_id="activate", plan_id="p", live="nothing", comparison_id="c", verification={}, report=""
        )
    assert operator.lineage is None
    event = told(operator)
    assert (event.get("inputs"), event.get("outputs")) == ([], [])


@pytest.mark.parametrize(
    ("root", "data", "named"),
    [
        ("/var/lib/podsearch", Data("snapshots"), ("file", "/var/lib/podsearch/snapshots")),
        ("s3://bucket/artifacts/", Data("snapshots"), ("s3://bucket", "artifacts/snapshots")),
        ("s3://bucket", Data("snapshots"), ("s3://bucket", "snapshots")),
        ("s3://bucket", Data("podsearch/m1-format3", backend="pinecone"), ("pinecone", "podsearch/m1-format3")),
    ],
)
def test_names_are_those_that_openlineage_has_for_files_and_buckets(
    root: str, data: Data, named: tuple[str, str]
) -> None:
    [output] = facets(Lineage(reads=(), writes=(data,)), artifacts_root=root).outputs
    assert (output.namespace, output.name) == named
