"""Rules and dashboard: real Prometheus understands them, and they name what is measured."""

from __future__ import annotations

import json
import re
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

from include.settings import PROJECT
from operators.measures import Count, Gauge, count, gauge
from tests.standins.otlp import OtlpStandIn, airflow_metrics, flush

FOLDER = PROJECT / "deploy" / "observability"
DOCS = (PROJECT / "docs" / "observability.md").read_text(encoding="utf-8")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
ENVIRONMENT = dict(re.findall(r"^((?:AIRFLOW|OTEL)_\w+)=(\S+)$", DOCS, flags=re.MULTILINE))
OURS = {f"airflow_{name.replace('.', '_')}" for name in Gauge} | {
    f"airflow_{name.replace('.', '_')}_total" for name in Count
}


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


def expressions() -> list[str]:
    return [rule["expr"] for rule in RULES] + [
        target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]
    ]


def test_every_name_is_one_that_is_measured() -> None:
    known = OURS | names_of_airflow()
    named = {name for text in expressions() for name in re.findall(r"\bairflow_\w+", text) if not name.endswith("_")}
    assert len(named) > 15
    assert named <= known
    assert set(re.findall(r"`(airflow_podsearch_\w+)`", DOCS)) == OURS, "the page has each of them, and no other"


def test_everything_that_is_measured_is_drawn() -> None:
    drawn = " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    counted = re.findall(r"\((\w+\|\w+\|\w+)\)_total", drawn)[0].split("|")
    drawn += " ".join(f"airflow_podsearch_{name}_total" for name in counted)
    assert {name for name in OURS if name not in drawn} == set()


def test_each_alert_says_what_to_do() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_prometheus_reads_the_files(tmp_path: Path) -> None:
    for name in ("prometheus.yaml", "rules.yaml"):
        shutil.copy(FOLDER / name, tmp_path / name)
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
    """A real one, with podsearch's rules, that scrapes a stand-in for the collector every second."""

    def __init__(self, folder: Path, collector: OtlpStandIn) -> None:
        config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{collector.port}"]
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
        """What an expression gives, as soon as it gives anything."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}).json()
            except httpx.HTTPError:
                answer = {}
            if found := answer.get("data", {}).get("result"):
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
