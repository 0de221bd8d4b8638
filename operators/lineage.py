"""What a task has read and written, for OpenLineage: datasets with their versions and row counts.

If Airflow's OpenLineage provider is installed and switched on, it asks each operator when its task has ended
(``docs/observability.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


@dataclass(frozen=True)
class Data:
    """A dataset: a folder of the artifact store, or the namespace of an index.

    :param name: the folder, or the index and its namespace.
    :param version: of what is in it.
    :param rows: how many were written, if they were counted.
    :param backend: of the index; None for an artifact.
    """

    name: str
    version: str | None = None
    rows: int | None = None
    backend: str | None = None


@dataclass(frozen=True)
class Lineage:
    """What a task has read and written."""

    reads: tuple[Data, ...]
    writes: tuple[Data, ...]


def facets(lineage: Lineage, *, artifacts_root: str) -> OperatorLineage[Any, Any]:
    """The same in the provider's words."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    def place(data: Data) -> dict[str, Any]:
        version = _version(data)
        return {**_named(data, artifacts_root), "facets": version}

    return OperatorLineage(
        inputs=[InputDataset(**place(data)) for data in lineage.reads],
        outputs=[
            OutputDataset(
                **place(data),
                outputFacets={}
                if data.rows is None
                else {
                    "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                        rowCount=data.rows
                    )
                },
            )
            for data in lineage.writes
        ],
    )


def _version(data: Data) -> dict[str, Any]:
    from openlineage.client.facet_v2 import dataset_version_dataset

    if data.version is None:
        return {}
    return {"version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=data.version)}


def _named(data: Data, artifacts_root: str) -> dict[str, str]:
    """Namespace and name, as OpenLineage names files and buckets."""
    if data.backend:
        return {"namespace": data.backend, "name": data.name}
    root = urlsplit(artifacts_root)
    if not root.scheme:
        return {"namespace": "file", "name": f"{artifacts_root.rstrip('/')}/{data.name}"}
    folder = f"{root.path.strip('/')}/{data.name}".lstrip("/")
    return {"namespace": f"{root.scheme}://{root.netloc}", "name": folder}
