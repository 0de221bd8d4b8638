"""A collector of OpenTelemetry metrics (OTLP over HTTP), which shows them to Prometheus as the real collector does.

As ``deploy/observability/collector.yaml`` has it: counts come as differences and are added up, names have underscores
in place of dots, and a count's ends in ``_total``. The id of the process that sent them becomes the label ``instance``,
unless that file deletes it.
"""

from __future__ import annotations

import atexit
import gzip
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest
import yaml
from opentelemetry import metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, NumberDataPoint
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID

from include.settings import PROJECT
from tests.standins.serving import serving

COLLECTOR = PROJECT / "deploy" / "observability" / "collector.yaml"
Series = tuple[str, tuple[tuple[str, str], ...]]
"""A name, and its labels in order."""


class OtlpStandIn:
    """The server; ``values`` has what was sent so far, as Prometheus would have it."""

    def __init__(self) -> None:
        self.values: dict[Series, float] = {}
        self.port = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def value(self, name: str, **labels: str) -> float | None:
        """One value, or None if it was never sent."""
        return self.values.get((name, tuple(sorted(labels.items()))))

    @contextmanager
    def serve(self) -> Iterator[OtlpStandIn]:
        """Answer until the end of the block."""
        standin = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                standin.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self._answer(ExportMetricsServiceResponse().SerializeToString(), "application/x-protobuf")

            def do_GET(self) -> None:
                self._answer(standin.exposition().encode(), "text/plain; version=0.0.4")

            def _answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        with serving(Handler) as self.port:
            yield self

    def take(self, body: bytes) -> None:
        """Take in one export. Histograms are left out: no rule and no panel reads one."""
        request = ExportMetricsServiceRequest.FromString(body)
        sent = [
            (_process(item.resource), one)
            for item in request.resource_metrics
            for scope in item.scope_metrics
            for one in scope.metrics
        ]
        with self._lock:
            for process, metric in sent:
                name = re.sub(r"[^a-zA-Z0-9_:]", "_", metric.name)
                for point in metric.gauge.data_points:
                    self.values[_series(name, point, process)] = _number(point)
                adds = metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
                for point in metric.sum.data_points:
                    key = _series(f"{name}_total" if metric.sum.is_monotonic else name, point, process)
                    self.values[key] = _number(point) + (self.values.get(key, 0.0) if adds else 0.0)

    def exposition(self) -> str:
        """All of it as text, in Prometheus' format."""
        with self._lock:
            values = dict(self.values)
        lines = []
        for (name, labels), value in sorted(values.items()):
            pairs = ",".join(f'{key}="{text}"' for key, text in labels)
            lines.append(f"{name}{{{pairs}}} {value}")
        return "\n".join(lines) + "\n"


def _process(resource: Resource) -> dict[str, str]:
    """The label that tells processes apart, if there is one."""
    transform = yaml.safe_load(COLLECTOR.read_text())["processors"]["transform"]["metric_statements"]
    if any(f'delete_key(resource.attributes, "{SERVICE_INSTANCE_ID}")' in one["statements"] for one in transform):
        return {}
    attributes = {item.key: item.value.string_value for item in resource.attributes}
    return {"instance": attributes.get(SERVICE_INSTANCE_ID, "")}


def _series(name: str, point: NumberDataPoint, labels: Mapping[str, str]) -> Series:
    own = {item.key: item.value.string_value for item in point.attributes}
    return name, tuple(sorted((own | dict(labels)).items()))


def _number(point: NumberDataPoint) -> float:
    return float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)


@contextmanager
def airflow_metrics(environment: Mapping[str, str]) -> Iterator[OtlpStandIn]:
    """Have this process send Airflow's metrics to a collector of its own; call :func:`flush` before looking at it.

    :param environment: as Airflow would be started with; the address is put in.
    """
    from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
    from airflow.sdk._shared.observability.metrics.otel_logger import flush_otel_metrics
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    with OtlpStandIn().serve() as standin, pytest.MonkeyPatch.context() as patch:
        for name, value in {**environment, "OTEL_EXPORTER_OTLP_ENDPOINT": standin.url}.items():
            patch.setenv(name, value)
        stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
        try:
            yield standin
        finally:
            provider = metrics.get_meter_provider()
            if isinstance(provider, MeterProvider):
                provider.shutdown()
            atexit.unregister(flush_otel_metrics)  # nobody is there any more who would take what is sent then
            stats.initialize(factory=NoStatsLogger, export_legacy_names=False)


def flush() -> None:
    """Send what was told so far, as a task's process does when it ends."""
    provider = metrics.get_meter_provider()
    if isinstance(provider, MeterProvider):
        provider.force_flush()
