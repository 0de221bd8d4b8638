"""Rules and dashboard: real Prometheus understands them, and they name what is measured."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import airflow.sdk
import httpx
import pytest
import yaml
from airflow.sdk.observability import stats
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, Resource

from include.settings import PROJECT
from operators.measures import Count, Gauge, count, gauge
from tests.include.search.catalogue import make_live
from tests.include.search.http.server import open_service, served
from tests.standins.otlp import OtlpStandIn, airflow_metrics, flush

FOLDER = PROJECT / "deploy" / "observability"
DOCS = (PROJECT / "docs" / "observability.md").read_text(encoding="utf-8")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ENVIRONMENT = dict(re.findall(r"^((?:AIRFLOW|OTEL)_\w+)=(\S+)$", DOCS, flags=re.MULTILINE))
OURS = {f"airflow_{name.replace('.', '_')}" for name in Gauge} | {
    f"airflow_{name.replace('.', '_')}_total" for name in Count
}
TOKEN = "0123456789abcdef0123"


def program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.skip(f"there is no {name}: apt-get install prometheus")
    return found


def names_of_airflow() -> set[str]:
    """What Airflow's registry has, as Prometheus would name it."""
    folder = Path(airflow.sdk.__file__).parent / "_shared" / "observability" / "metrics"
    metrics = yaml.safe_load((folder / "metrics_template.yaml").read_text())["metrics"]
    ends = {"counter": "_total"}
    return {f"airflow_{one['name'].replace('.', '_')}{ends.get(one['type'], '')}" for one in metrics}


def names_of_search() -> set[str]:
    """What the search service has, as its page lists it."""
    page = (PROJECT / "docs" / "search.md").read_text(encoding="utf-8")
    return set(re.findall(r"`(podsearch_\w+)`", page.partition("## Monitoring")[2]))


def expressions() -> list[str]:
    return [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_every_name_is_one_that_is_measured() -> None:
    known = OURS | names_of_airflow() | names_of_search()
    named = {name for text in expressions() for name in re.findall(r"\b(?:airflow|podsearch)_\w+", text)}
    assert len(named) > 20
    assert {name.removesuffix("_bucket") for name in named} <= known
    assert set(re.findall(r"`(airflow_podsearch_\w+)`", DOCS)) == OURS, "the page has each of them, and no other"


def test_everything_that_is_measured_is_drawn() -> None:
    drawn = {name for panel in PANELS for target in panel["targets"] for name in re.findall(r"\w+", target["expr"])}
    assert OURS - drawn == set()


def test_each_panel_explains_itself() -> None:
    assert len({panel["title"] for panel in PANELS if panel["type"] == "stat"}) > 10, "what is seen at a glance"
    for panel in PANELS:
        assert re.fullmatch(r"[^\n]{20,110}\.", panel["description"]), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert panel["type"] != "timeseries" or all(legends), f"{panel['title']}: a series would be named by its query"
        if panel["type"] == "stat":  # Grafana's own colour from 80 on is red
            assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], panel["title"]
    titles = [(panel["type"], panel["title"]) for panel in DASHBOARD["panels"]]
    assert sorted(set(titles)) == sorted(titles)


def test_panels_have_room() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies over another"
        taken |= cells


def test_each_alert_says_what_to_do() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_prometheus_reads_the_files(tmp_path: Path) -> None:
    for name in ("prometheus.yaml", "rules.yaml"):
        shutil.copy(FOLDER / name, tmp_path / name)
    (tmp_path / "search-token").touch()
    command = [program("promtool"), "check", "config", str(tmp_path / "prometheus.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    cases = Path(__file__).parent / "alerts.yaml"
    for file in (FOLDER / "rules.yaml", cases):
        shutil.copy(file, tmp_path / file.name)
    done = subprocess.run([program("promtool"), "test", "rules", "alerts.yaml"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()
    fired = {
        one["alertname"]
        for test in yaml.safe_load(cases.read_text())["tests"]
        for one in test["alert_rule_test"]
        if one.get("exp_alerts")
    }
    assert {rule["alert"] for rule in RULES} - fired == {"PodsearchIndexLagsBehind"}, "which is like the first"


class Prometheus:
    """A real one, with podsearch's rules, that scrapes search and a stand-in for the collector every second.

    :param search: host and port.
    """

    def __init__(self, folder: Path, collector: OtlpStandIn, search: str = "127.0.0.1:9") -> None:
        config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        for job, address in zip(config["scrape_configs"], (f"127.0.0.1:{collector.port}", search), strict=True):
            job["static_configs"][0]["targets"] = [address]
        (folder / "search-token").write_text(TOKEN)
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        shutil.copy(FOLDER / "rules.yaml", folder / "rules.yaml")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        arguments = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [program("prometheus"), *arguments, f"--web.listen-address={self.url.removeprefix('http://')}"],
                stdout=log,
                stderr=log,
            )

    def ask(self, expression: str) -> list[Any]:
        """What an expression gives, as soon as it gives anything; while it starts, Prometheus answers 503."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression})
                found = answer.json()["data"]["result"] if answer.is_success else []
            except httpx.HTTPError:
                found = []
            if found:
                return list(found)
            time.sleep(0.5)
        raise AssertionError(f"{expression} gives nothing")


@pytest.fixture
def collector() -> Iterator[OtlpStandIn]:
    with airflow_metrics(ENVIRONMENT) as standin:
        yield standin


@pytest.fixture
def prometheus(collector: OtlpStandIn, tmp_path: Path) -> Iterator[Prometheus]:
    started = Prometheus(tmp_path, collector)
    yield started
    started.process.terminate()
    started.process.wait(30)


def test_tasks_are_one_to_the_collector() -> None:
    """Every process has an id of its own. With it, each run's counts would begin anew, and old values would stay."""
    with OtlpStandIn().serve() as standin:
        for _ in range(2):
            exporter = OTLPMetricExporter(standin.url, preferred_temporality={Counter: AggregationTemporality.DELTA})
            task = MeterProvider(
                [PeriodicExportingMetricReader(exporter)], Resource({SERVICE_INSTANCE_ID: secrets.token_hex()})
            )
            task.get_meter("airflow").create_counter("airflow.podsearch.upserts").add(1_000)
            task.shutdown()
        assert standin.value("airflow_podsearch_upserts_total") == 2_000
    assert SERVICE_INSTANCE_ID in Resource.create().attributes, "or collector.yaml need not delete it"
    pipeline = yaml.safe_load((FOLDER / "collector.yaml").read_text())["service"]["pipelines"]["metrics"]
    assert pipeline["processors"][:2] == ["transform", "deltatocumulative"]


def test_what_tasks_tell_reaches_prometheus_and_its_rules(prometheus: Prometheus) -> None:
    for _ in range(2):  # two tasks, each of which sends what it has counted
        count(Count.UPSERTS, 1_000)
        flush()
    gauge(Gauge.INDEX_RECORDS, 0)
    gauge(Gauge.LIVE_QUALITY, 0.57, queries="curated", metric="recall@30")
    flush()
    [upserts] = prometheus.ask("airflow_podsearch_upserts_total == 2000")
    assert upserts["metric"]["job"] == "airflow"
    [quality] = prometheus.ask("airflow_podsearch_live_quality")
    assert (quality["metric"]["queries"], quality["value"][1]) == ("curated", "0.57")
    [alert] = prometheus.ask('ALERTS{alertname="PodsearchIndexIsEmpty", alertstate="firing"}')
    assert alert["metric"]["severity"] == "critical"


def report_everything() -> None:
    """What tasks and Airflow report when a run has ended, one task of which failed."""
    for counted in Count:
        count(counted, 1_000, **({"task_id": "fine_tune"} if counted is Count.GPU_SECONDS else {}))
    labels: dict[Gauge, dict[str, str]] = {
        Gauge.QUARANTINED: {"reason": "orphan"},
        Gauge.PLAN_VECTORS: {"work": "embed"},
        Gauge.LIVE_QUALITY: {"queries": "curated", "metric": "recall@30"},
    }
    for measured in Gauge:
        # An empty index, so that an alert fires.
        gauge(measured, 0 if measured is Gauge.INDEX_RECORDS else 0.5, **labels.get(measured, {}))
    for state in ("success", "failed", "up_for_retry"):
        stats.incr("ti.finish", tags={"dag_id": "train_retriever", "task_id": "fine_tune", "state": state})
    for slots in ("open", "running", "queued", "scheduled"):
        stats.gauge(f"pool.{slots}_slots", 1, tags={"pool_name": "gpu"})
    flush()


def test_no_panel_is_empty_after_a_run(collector: OtlpStandIn, tmp_path: Path) -> None:
    """Counts included that nobody had reported before: a month may lie between two trainings."""
    report_everything()
    with served(open_service(make_live(tmp_path / "home")), token=TOKEN) as address:
        search = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
        search.get("/search", params={"q": "rocket"})  # a 503, if the machine is busy, is counted just as well
        started = Prometheus(tmp_path, collector, address.removeprefix("http://"))
        try:
            started.ask('podsearch_requests_total{route="/search"}')
            search.get("/search", params={"q": "moon"})
            for panel in PANELS:
                for target in panel["targets"]:
                    expression = target["expr"].replace("$__rate_interval", "1m")
                    assert started.ask(f"({expression}) >= 0"), panel["title"]
            [failed] = started.ask(panel_named("Tasks failed, last 24 hours"))
            [work] = started.ask(f"{panel_named('Work done in 24 hours')} > 0")
        finally:
            started.process.terminate()
            started.process.wait(30)
    assert (failed["value"][1], work["value"][1]) == ("1", "1000")


def panel_named(title: str) -> str:
    """The first query of a panel."""
    [found] = [panel["targets"][0]["expr"] for panel in PANELS if panel["title"] == title]
    return str(found)
