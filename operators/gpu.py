"""Tasks that compute on a GPU: where Airflow sends them, and how each gets a GPU to itself while it runs.

On a machine without a GPU they run on the CPU, unless ``PODSEARCH_DEVICE=cuda`` requires one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from operators.base import PodsearchOperator
from operators.measures import Count, count
from operators.pods import pod_override
from operators.pools import Pool, Queue

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

    from include.devices.device import Device
    from include.devices.usage import Usage

USAGE = "device_usage"
"""The XCom key for a task's device usage (:class:`include.devices.usage.Usage`); each mapped task has its own."""


class GpuOperator(PodsearchOperator):
    """An operator that has GPUs to itself while it computes.

    It waits in the pool and the queue ``gpu``, on Kubernetes in a pod with GPUs, and leases them on its worker while it
    computes (:meth:`leased`). What it used is logged, and pushed under ``device_usage``, which is empty if there was
    nothing to compute (:meth:`computes_nothing`).

    :param gpus: how many; with 0 it is an ordinary task on the CPU.
    """

    usage: Usage
    """While it computes: where work in other processes notes what it used."""

    def __init__(self, *, gpus: int = 1, **kwargs: Any) -> None:
        super().__init__(**_placed(gpus, kwargs))
        self.gpus = gpus

    @classmethod
    def partial(cls, *, gpus: int = 1, **kwargs: Any) -> OperatorPartial:
        """As :meth:`BaseOperator.partial`, which knows nothing of what the constructor adds."""
        return super().partial(gpus=gpus, **_placed(gpus, kwargs))

    @contextmanager
    def leased(self, context: Context) -> Iterator[Device]:
        """A block that has a device to itself. What it used is logged and pushed once it has ended well."""
        from include.devices.device import borrow
        from include.devices.usage import measure

        settings = self.settings
        wanted = settings.devices.device if self.gpus else "cpu"
        locks = settings.installation.home / "devices"
        with (
            borrow(wanted, gpus=self.gpus, threads=settings.devices.threads, folder=locks) as device,
            measure(device) as self.usage,
        ):
            yield device
        context["ti"].xcom_push(key=USAGE, value=self.usage.model_dump(mode="json"))
        if self.usage.gpus:
            count(Count.GPU_SECONDS, self.usage.gpu_seconds, task_id=self.task_id)

    def computes_nothing(self, context: Context) -> None:
        """Note that no device was wanted, for there was nothing to compute: a task that reads it fails without."""
        context["ti"].xcom_push(key=USAGE, value={})


def _placed(gpus: int, kwargs: dict[str, Any]) -> dict[str, Any]:
    """An operator's arguments with what sends it to the GPUs; those that were given go before."""
    if not gpus:
        return kwargs
    placed = {"pool": Pool.GPU.value, "pool_slots": gpus, "queue": Queue.GPU.value, **kwargs}
    config = dict(kwargs.get("executor_config") or {})
    if "pod_override" not in config and (pod := pod_override(gpus)):
        placed["executor_config"] = config | {"pod_override": pod}
    return placed
