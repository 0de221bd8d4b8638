"""The pod of every task, as Airflow makes it of the values of its chart, and what podsearch has beside the chart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from kubernetes.client import ApiClient

from include.settings import KNOWN, PROJECT, get_settings
from operators.gpu import GpuOperator
from tests.dags.test_policy import operator_class, tasks_of

FOLDER = PROJECT / "deploy" / "helm"
VALUES: dict[str, Any] = yaml.safe_load((FOLDER / "values.yaml").read_text(encoding="utf-8"))
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((FOLDER / "podsearch.yaml").read_text(encoding="utf-8")))
SETTINGS: dict[str, str] = next(one["data"] for one in OBJECTS if one["metadata"]["name"] == "podsearch")
GPU_POD: str = next(one["data"]["gpu-pod.yaml"] for one in OBJECTS if one["metadata"]["name"] == "podsearch-gpu-pod")
DOCS = (PROJECT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
VERSIONS = ["1.30", "1.37"]
"""Of Kubernetes: the oldest that the chart takes, and the newest whose schema there is."""
REPOSITORY = VALUES["images"]["airflow"]["repository"]

Pod = dict[str, Any]


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Any, Pod]]]:
    """Each task's operator, and its pod as KubernetesExecutor asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__EXECUTOR", VALUES["executor"])
        for name, value in SETTINGS.items():
            if name.startswith("PODSEARCH_"):
                patch.setenv(name, value)
        mounted = tmp_path_factory.mktemp("mounted") / "gpu-pod.yaml"
        mounted.write_text(GPU_POD, encoding="utf-8")
        patch.setenv("PODSEARCH_GPU_POD", str(mounted))
        get_settings.cache_clear()
        bag = DagBag(dag_folder=PROJECT / "dags", safe_mode=True)
        assert bag.import_errors == {}
        template = PodGenerator.deserialize_model_dict(yaml.safe_load(VALUES["podTemplate"]))
        yield {key: (operator_class(task), render(task, template)) for key, task in tasks_of(bag)}
    get_settings.cache_clear()


def render(task: Any, template: Any) -> Pod:
    config = task.partial_kwargs.get("executor_config") if hasattr(task, "partial_kwargs") else task.executor_config
    pod = PodGenerator.construct_pod(
        dag_id=task.dag_id,
        task_id=task.task_id,
        pod_id="some-pod",
        try_number=1,
        kube_image=f"{REPOSITORY}:{VALUES['images']['airflow']['tag']}",
        date=datetime.now(UTC),
        args=["python", "-m", "airflow.sdk.execution_time.execute_workload", "--json-string", "{}"],
        pod_override_object=PodGenerator.from_obj(config or {}),
        base_worker_pod=template,
        namespace="podsearch",
        scheduler_job_id="1",
        run_id="some-run",
    )
    rendered: Pod = ApiClient().sanitize_for_serialization(pod)
    return rendered


@pytest.mark.parametrize("version", VERSIONS)
def test_each_tasks_pod_is_one_that_kubernetes_takes(pods: dict[str, tuple[Any, Pod]], version: str) -> None:
    assert len(pods) > 25
    for key, (_, pod) in pods.items():
        kubernetes_validate.validate(pod, version, strict=True)
        [container] = pod["spec"]["containers"]
        assert container["name"] == "base", f"{key}: what the operator asks for is another container's"


def test_tasks_that_compute_on_gpus_get_them_and_no_others(pods: dict[str, tuple[Any, Pod]]) -> None:
    computing = set()
    described = yaml.safe_load(GPU_POD)["spec"]
    for key, (operator, pod) in pods.items():
        [container] = pod["spec"]["containers"]
        resources = container["resources"]
        placed = (container["image"], pod["spec"].get("nodeSelector"), pod["spec"].get("tolerations"))
        if not issubclass(operator, GpuOperator) or "nvidia.com/gpu" not in resources["limits"]:
            assert placed == (f"{REPOSITORY}:cpu", None, None), key
            assert resources["limits"] == {"memory": "16Gi"}, key
            continue
        computing.add(key)
        own = described["containers"][0]
        assert placed == (own["image"], described["nodeSelector"], described["tolerations"]), key
        assert resources["requests"] == own["resources"]["requests"], key
        assert resources["limits"] == own["resources"]["limits"] | {"nvidia.com/gpu": "1"}, key
    assert computing >= {"train_retriever.fine_tune", "reindex_episodes.encode_shard", "reindex_episodes.verify_index"}


def test_what_the_template_says_stays_beside_what_the_operator_asks_for(pods: dict[str, tuple[Any, Pod]]) -> None:
    """Volumes and security of a task that computes on GPUs are those of any other."""
    for key, (_, pod) in pods.items():
        spec = pod["spec"]
        [container] = spec["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, key
        assert spec["securityContext"]["runAsNonRoot"] is True, key
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}, key


def test_the_dag_processor_reads_the_pod_of_gpus_where_the_setting_says() -> None:
    [mount] = VALUES["dagProcessor"]["extraVolumeMounts"]
    [volume] = VALUES["dagProcessor"]["extraVolumes"]
    assert (volume["name"], volume["configMap"]["name"]) == (mount["name"], "podsearch-gpu-pod")
    assert SETTINGS["PODSEARCH_GPU_POD"] == f"{mount['mountPath']}/gpu-pod.yaml"


def test_a_task_is_given_nothing_of_airflows_database_and_keys(pods: dict[str, tuple[Any, Pod]]) -> None:
    forbidden = {VALUES["data"]["metadataSecretName"]} | {VALUES[name] for name in VALUES if "SecretName" in name}
    forbidden |= {VALUES["jwtSecretName"], VALUES["fernetKeySecretName"]}
    for _, pod in pods.values():
        text = yaml.safe_dump(pod)
        assert not [name for name in forbidden if name in text]
        assert pod["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("version", VERSIONS)
def test_the_objects_beside_the_chart_are_ones_that_kubernetes_takes(version: str) -> None:
    for one in OBJECTS:
        kubernetes_validate.validate(one, version, strict=True)
        assert one["metadata"]["namespace"] == "podsearch"


def test_its_settings_exist() -> None:
    search = next(one for one in OBJECTS if one["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][0]
    named = {*SETTINGS, *(variable["name"] for variable in search["env"] + VALUES["apiServer"]["env"])}
    assert {name for name in named if name.startswith("PODSEARCH_")} <= KNOWN


def test_search_is_given_nothing_of_airflows() -> None:
    deployment = next(one for one in OBJECTS if one["kind"] == "Deployment")
    assert "AIRFLOW" not in yaml.safe_dump(deployment)
    assert "name: podsearch\n" not in yaml.safe_dump(deployment["spec"]["template"]["spec"])


def test_airflows_pages_reach_search_with_its_token() -> None:
    """Where the service answers, and the secret that search itself reads; no task is given it."""
    server, service = VALUES["apiServer"], next(one for one in OBJECTS if one["kind"] == "Service")
    search = next(one for one in OBJECTS if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    env = {variable["name"]: variable["value"] for variable in server["env"]}
    assert (env["PODSEARCH_SEARCH_HOST"], int(env["PODSEARCH_SEARCH_PORT"])) == (
        service["metadata"]["name"],
        service["spec"]["ports"][0]["port"],
    )
    [mount], [volume] = server["extraVolumeMounts"], server["extraVolumes"]
    theirs = next(one for one in search["volumes"] if one["name"] == "token")
    assert (mount["name"], volume["secret"]) == (volume["name"], theirs["secret"])
    token = Path(env["PODSEARCH_SEARCH_TOKEN_FILE"])
    assert (str(token.parent), mount["readOnly"]) == (mount["mountPath"], True)
    assert f"--from-literal={token.name}=" in DOCS[DOCS.index(volume["secret"]["secretName"]) :].splitlines()[0]
    assert volume["secret"]["secretName"] not in VALUES["podTemplate"]


def test_every_secret_and_volume_that_is_named_is_made(pods: dict[str, tuple[Any, Pod]]) -> None:
    """Volumes by the file, secrets by hand, as the page tells."""
    claims = {one["metadata"]["name"] for one in OBJECTS if one["kind"] == "PersistentVolumeClaim"}
    _, pod = next(iter(pods.values()))
    mounted = [
        volume["persistentVolumeClaim"] for volume in pod["spec"]["volumes"] if "persistentVolumeClaim" in volume
    ]
    assert {claim["claimName"] for claim in mounted} == claims
    secrets = {VALUES["data"]["metadataSecretName"], VALUES["fernetKeySecretName"], VALUES["apiSecretKeySecretName"]}
    secrets |= {VALUES["jwtSecretName"], "podsearch", "podsearch-search", "podsearch-search-token"}
    for name in secrets:
        assert f"create secret generic {name} " in DOCS, name


def test_no_secret_is_in_a_file() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in FOLDER.iterdir())
    assert not [word for word in ("PASSWORD", "API_KEY", "SECRET_ACCESS_KEY", "FERNET_KEY:") if word in text]
