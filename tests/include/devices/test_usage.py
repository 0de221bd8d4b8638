from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from include.devices.device import Device
from include.devices.halving import HalvingBatch
from include.devices.usage import Usage, measure


def halve_once(size: int) -> int:
    if size > 4:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return size


def test_what_a_cpu_was_used_for_is_measured() -> None:
    with measure(Device("cpu", fallback=True)) as usage:
        np.ones(2**24)  # 128 MiB
    assert usage.seconds > 0
    assert usage.memory_peak_bytes > 2**27
    assert (usage.device, usage.gpus, usage.gpu_seconds, usage.fallback) == ("cpu", 0, 0, True)


def test_each_held_gpu_counts_its_seconds() -> None:
    with measure(Device("cuda", ("0", "1"), ("H100", "H100"))) as usage:
        sum(range(200_000))
    assert usage.gpus == 2
    assert usage.gpu_seconds == pytest.approx(2 * usage.seconds)
    assert usage.gpu_seconds > 0


def test_halved_batches_are_counted_where_they_happen() -> None:
    HalvingBatch(8).run(halve_once)
    with measure(Device("cpu")) as usage:
        HalvingBatch(16).run(halve_once)
    assert usage.batch_halvings == 2


def test_the_peak_of_other_processes_can_be_noted() -> None:
    with measure(Device("cuda", ("0",), ("H100",))) as usage:
        usage.memory_peak_bytes = 5 * 2**30
    assert usage.memory_peak_bytes == 5 * 2**30


def test_failed_work_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(ZeroDivisionError), measure(Device("cuda", ("0",), ("NVIDIA H100",))):
        _ = 1 / 0
    assert "Used: NVIDIA H100, " in caplog.text


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        (
            Usage(device="cuda", names=["A", "A"], gpus=2, seconds=10, gpu_seconds=20, memory_peak_bytes=2**31),
            "2 x A, 10.0 s, 20.0 GPU seconds, 2.00 GiB of memory at the peak",
        ),
        (
            Usage(device="cpu", seconds=1, fallback=True, batch_halvings=3),
            "CPU, no GPU available, 1.0 s, 0.00 GiB of memory at the peak, halvings of the batch: 3",
        ),
    ],
    ids=lambda value: value.device if isinstance(value, Usage) else "",
)
def test_all_of_it_fits_in_a_line(usage: Usage, said: str) -> None:
    assert usage.describe() == said
