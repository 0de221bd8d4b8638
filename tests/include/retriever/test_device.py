from __future__ import annotations

import os

import pytest
import torch

from include.retriever.device import DeviceError, prepare_device


@pytest.fixture(autouse=True)
def restore_threads() -> object:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_are_fixed() -> None:
    """Left alone, two processes that each take all cores run many times slower."""
    assert prepare_device("cpu", 1) == "cpu"
    assert torch.get_num_threads() == 1
    prepare_device("cpu", 0)
    assert torch.get_num_threads() == len(os.sched_getaffinity(0))


def test_auto_takes_what_is_there() -> None:
    assert prepare_device("auto", 1) == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_wanted_and_missing_fails_at_once() -> None:
    with pytest.raises(DeviceError, match="PODSEARCH_DEVICE"):
        prepare_device("cuda", 1)
