from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import BaseSerialization
from kubernetes.client import V1Pod
from kubernetes.client.models import V1Toleration

from include.devices.device import DeviceError
from include.devices.lease import lease
from include.errors import PermanentError
from include.settings import get_settings
from operators.gpu import GpuOperator
from operators.pools import Pool, Queue
from tests.operators.conftest import FakeContext, Installation


class Compute(GpuOperator):
    """Returns what it ran on; with nothing to do, it returns its result before."""

    def __init__(self, *, finished: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.finished = finished

    def execute(self, context: Any) -> Any:
        if self.finished is not None:
            self.computes_nothing(context)
            return self.finished
        with self.leased(context) as device:
            return device.kind


@pytest.fixture(autouse=True)
def restore_threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def device(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Choose PODSEARCH_DEVICE, on a machine that shows no GPU."""

    def choose(value: str) -> None:
        monkeypatch.setenv("PODSEARCH_DEVICE", value)
        get_settings.cache_clear()

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return choose


def test_a_task_is_sent_to_the_gpus() -> None:
    operator = Compute(task_id="compute", gpus=2)
    assert (operator.pool, operator.pool_slots, operator.queue) == (Pool.GPU, 2, Queue.GPU)
    assert operator.executor_config == {}


def test_mapped_tasks_are_sent_there_too_with_their_arguments() -> None:
    with DAG("some_dag"):
        mapped = Compute.partial(task_id="compute", gpus=3, retries=7).expand(finished=[1, 2])
    assert (mapped.pool, mapped.pool_slots, mapped.queue, mapped.retries) == (Pool.GPU, 3, Queue.GPU, 7)
    task = mapped.unmap({"finished": 1})
    assert isinstance(task, Compute)
    assert (task.pool, task.pool_slots, task.queue, task.gpus, task.finished) == (Pool.GPU, 3, Queue.GPU, 3, 1)


def test_what_a_dag_says_of_the_place_goes_before() -> None:
    operator = Compute(task_id="compute", pool=Pool.INDEX.value, queue="large")
    assert (operator.pool, operator.queue) == (Pool.INDEX, "large")


def test_a_task_that_needs_no_gpu_goes_where_others_go(device: Any, context: FakeContext) -> None:
    operator = Compute(task_id="compute", gpus=0)
    assert (operator.pool, operator.queue) == ("default_pool", "default")
    device("cuda")
    assert operator.execute(context) == "cpu"


def test_what_was_used_is_kept_with_the_run(
    device: Any, context: FakeContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    device("auto")
    assert Compute(task_id="compute").execute(context) == "cpu"
    usage = context.ti.pushed["device_usage"]
    assert (usage["device"], usage["fallback"], usage["gpus"]) == ("cpu", True, 0)
    assert usage["memory_peak_bytes"] > 0
    assert "Used: CPU, no GPU available" in caplog.text


def test_without_a_required_gpu_a_task_fails_at_once(device: Any, context: FakeContext) -> None:
    device("cuda")
    with pytest.raises(DeviceError, match="CUDA_VISIBLE_DEVICES"):
        Compute(task_id="compute").execute(context)
    assert context.ti.pushed == {}


def test_a_task_with_nothing_to_do_waits_for_no_gpu(
    device: Any, context: FakeContext, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    device("cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with lease(["0"], count=1, folder=installation.settings.installation.home / "devices", patience_seconds=0):
        assert Compute(task_id="compute", finished=0).execute(context) == 0
    assert context.ti.pushed == {"device_usage": {}}


@pytest.mark.parametrize(
    "executor",
    [
        "KubernetesExecutor",
        "LocalExecutor, KubernetesExecutor",
        "airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor:pods,CeleryExecutor",
        "LocalExecutor,pods:KubernetesExecutor",
        "LocalExecutor;team=KubernetesExecutor",
    ],
)
def test_on_kubernetes_a_pod_is_given_gpus(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    with DAG("some_dag"):
        mapped = Compute.partial(task_id="mapped", gpus=2).expand(finished=[1])
    for config in (Compute(task_id="compute", gpus=2).executor_config, mapped.executor_config):
        assert config
        assert type(config["pod_override"]) is V1Pod
        spec: Any = config["pod_override"].spec
        [container] = spec.containers
        assert (container.name, container.resources.limits) == ("base", {"nvidia.com/gpu": "2"})
        assert spec.tolerations == [V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")]
        kept = BaseSerialization.deserialize(BaseSerialization.serialize(config))
        assert kept["pod_override"].spec == spec, "as the scheduler reads it"


def test_a_file_may_say_more_of_such_pods(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "pod.yaml"
    container = "{name: base, image: podsearch:gpu, resources: {requests: {cpu: 4}, limits: {memory: 32Gi}}}"
    file.write_text(f"spec: {{nodeSelector: {{pool: gpu}}, containers: [{container}]}}")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    monkeypatch.setenv("PODSEARCH_GPU_POD", str(file))
    get_settings.cache_clear()
    config: Any = Compute(task_id="compute", gpus=2).executor_config
    spec = config["pod_override"].spec
    assert (spec.node_selector, spec.containers[0].image) == ({"pool": "gpu"}, "podsearch:gpu")
    assert spec.containers[0].resources.limits == {"memory": "32Gi", "nvidia.com/gpu": "2"}


@pytest.mark.parametrize("text", ["", "spec: {}", "[", "spec: {containers: [{name: other}]}"])
def test_a_file_that_describes_no_pod_is_named(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    (tmp_path / "pod.yaml").write_text(text)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    monkeypatch.setenv("PODSEARCH_GPU_POD", str(tmp_path / "pod.yaml"))
    get_settings.cache_clear()
    with pytest.raises(PermanentError, match=r"PODSEARCH_GPU_POD: .*pod\.yaml"):
        Compute(task_id="compute")


def test_a_pod_that_a_dag_describes_goes_before(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    own = V1Pod()
    task = Compute(task_id="compute", executor_config={"pod_override": own, "pod_template_file": "gpu.yaml"})
    assert task.executor_config == {"pod_override": own, "pod_template_file": "gpu.yaml"}
    task = Compute(task_id="compute", executor_config={"pod_template_file": "gpu.yaml"})
    assert task.executor_config
    assert set(task.executor_config) == {"pod_override", "pod_template_file"}


def test_who_computes_on_the_cpu_asks_kubernetes_for_no_gpu(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    device("cpu")
    assert Compute(task_id="compute").executor_config == {}


def test_kubernetes_without_its_client_says_what_to_install(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    with pytest.raises(PermanentError, match="pip install apache-airflow-providers-cncf-kubernetes"):
        Compute(task_id="compute")
