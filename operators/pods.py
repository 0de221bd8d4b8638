"""What GPU tasks ask of Kubernetes beyond the pod template; other tasks ask for nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from airflow.sdk.configuration import conf

from include.errors import PermanentError
from include.settings import get_settings

RESOURCE = "nvidia.com/gpu"
"""What Kubernetes calls a GPU of NVIDIA: a resource, and the taint that keeps other pods from its nodes."""
CONTAINER = "base"
"""The container of a pod that Airflow runs the task in."""
PLAIN: dict[str, Any] = {
    "spec": {
        "containers": [{"name": CONTAINER}],
        "tolerations": [{"key": RESOURCE, "operator": "Exists", "effect": "NoSchedule"}],
    }
}
"""What such a pod has where nobody has described it: leave to run on the nodes that are kept for GPUs."""


def pod_override(gpus: int) -> Any:
    """The pod of a task that takes so many GPUs: what ``PODSEARCH_GPU_POD`` describes, with the GPUs.

    Airflow lays it over the pod template; of a container, ``resources`` as a whole takes the place of the template's.

    :returns: a ``kubernetes.client.V1Pod``; None where no pod is to have a GPU.
    :raises PermanentError: what KubernetesExecutor needs is not installed, or the description is none.
    """
    settings = get_settings().devices
    if not gpus or settings.device == "cpu" or not _on_kubernetes():
        return None
    try:
        from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
        from kubernetes.client import models as k8s
    except ImportError as error:
        raise PermanentError(
            f"[core] executor names KubernetesExecutor, but {error.name} is missing where DAGs are parsed: "
            "pip install apache-airflow-providers-cncf-kubernetes."
        ) from error
    pod = PodGenerator.deserialize_model_dict(_described(settings.gpu_pod) if settings.gpu_pod else PLAIN)
    container = next(one for one in pod.spec.containers if one.name == CONTAINER)
    container.resources = container.resources or k8s.V1ResourceRequirements()
    container.resources.limits = (container.resources.limits or {}) | {RESOURCE: str(gpus)}
    return pod


def _described(file: Path) -> dict[str, Any]:
    import yaml

    try:
        described = yaml.safe_load(file.read_text(encoding="utf-8"))
        names = [container["name"] for container in described["spec"]["containers"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise PermanentError(f"PODSEARCH_GPU_POD: {file} does not describe a pod ({error}).") from error
    if CONTAINER not in names:
        raise PermanentError(f"PODSEARCH_GPU_POD: the pod of {file} has no container called {CONTAINER}.")
    pod: dict[str, Any] = described
    return pod


def _on_kubernetes() -> bool:
    """Whether KubernetesExecutor is among the executors: there may be several, with aliases, and of several teams."""
    executors = re.split(r"[,;:=]", conf.get("core", "executor", fallback=""))
    return any(name.strip().rpartition(".")[2] == "KubernetesExecutor" for name in executors)
