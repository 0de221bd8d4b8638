from __future__ import annotations

import logging

import pytest
import torch

from include.devices.halving import HalvingBatch, halvings

TOO_MUCH = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore about it."),
    torch.OutOfMemoryError(),
    RuntimeError("CUDA failed with error out of memory"),  # as CTranslate2 says it
]


class Gpu:
    """Computes on batches up to some size."""

    def __init__(self, fits: int, error: Exception = TOO_MUCH[0]) -> None:
        self.fits, self.error = fits, error
        self.tried: list[int] = []

    def compute(self, size: int) -> str:
        self.tried.append(size)
        if size > self.fits:
            raise self.error
        return f"done by {size}"


@pytest.mark.parametrize("error", TOO_MUCH, ids=lambda error: type(error).__name__)
def test_a_batch_that_is_too_large_is_halved_until_it_fits(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    gpu, batch, before = Gpu(20, error), HalvingBatch(64), halvings()
    assert batch.run(gpu.compute) == "done by 16"
    assert gpu.tried == [64, 32, 16]
    assert halvings() - before == 2
    assert "too little memory for a batch of 64" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_what_was_too_large_once_is_not_tried_again() -> None:
    gpu, batch = Gpu(20), HalvingBatch(64)
    batch.run(gpu.compute)
    gpu.tried.clear()
    batch.run(gpu.compute)
    assert gpu.tried == [16]


def test_one_call_may_be_smaller_than_the_others() -> None:
    gpu, batch = Gpu(100), HalvingBatch(64)
    assert batch.run(gpu.compute, size=5) == "done by 5"
    assert batch.run(gpu.compute, size=500) == "done by 64"


def test_what_is_too_much_at_its_smallest_is_too_much() -> None:
    gpu = Gpu(3)
    with pytest.raises(torch.OutOfMemoryError):
        HalvingBatch(24).run(gpu.compute, minimum=4)
    assert gpu.tried == [24, 12, 6, 4]


@pytest.mark.parametrize("error", [MemoryError("out of memory"), RuntimeError("shapes differ"), ValueError("no")])
def test_other_errors_are_passed_on(error: Exception) -> None:
    gpu = Gpu(0, error)
    with pytest.raises(type(error)):
        HalvingBatch(64).run(gpu.compute)
    assert gpu.tried == [64]


def test_what_failed_is_let_go_before_it_is_tried_again() -> None:
    """A traceback holds on to the tensors of its frames, which are what fills the GPU."""
    alive: list[bool] = []

    class Tensor:
        living = 0

        def __init__(self) -> None:
            Tensor.living += 1

        def __del__(self) -> None:
            Tensor.living -= 1

    def compute(size: int) -> None:
        alive.append(Tensor.living > 0)
        _held = Tensor()
        if size > 1:
            raise torch.OutOfMemoryError("out of memory")

    HalvingBatch(4).run(compute)
    assert alive == [False, False, False]
