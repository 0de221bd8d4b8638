from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch

from include.devices.device import Device, DeviceError, borrow
from include.devices.lease import DevicesBusyError
from include.errors import PermanentError
from tests.include.devices.conftest import Install, Machine

VARIABLE = "CUDA_VISIBLE_DEVICES"
CORES = len(os.sched_getaffinity(0))


def test_threads_are_fixed(tmp_path: Path) -> None:
    """Left alone, two processes that each take all cores run many times slower."""
    for threads, expected in ((1, 1), (0, CORES)):
        with borrow("cpu", gpus=1, threads=threads, folder=tmp_path, patience_seconds=0) as device:
            assert device.kind == "cpu"
            assert torch.get_num_threads() == expected


def test_a_borrower_sees_the_gpus_it_has_and_no_others(install: Install, tmp_path: Path) -> None:
    install("H100", "H100", "A100")
    with borrow("cuda", gpus=2, threads=1, folder=tmp_path, patience_seconds=0) as first:
        assert first == Device("cuda", (Machine.uuid(0), Machine.uuid(1)), ("H100", "H100"))
        assert first.kind == "cuda"
        assert os.environ[VARIABLE] == f"{Machine.uuid(0)},{Machine.uuid(1)}"
    assert VARIABLE not in os.environ


def test_others_have_other_gpus(install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install("H100", "A100")
    with borrow("auto", gpus=1, threads=1, folder=tmp_path, patience_seconds=0):
        monkeypatch.delenv(VARIABLE)  # as another process has it
        with borrow("auto", gpus=1, threads=1, folder=tmp_path, patience_seconds=0) as second:
            assert (second.gpus, second.names) == ((Machine.uuid(1),), ("A100",))


def test_of_the_gpus_that_a_worker_is_given_no_others_are_taken(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install("H100", "H100", "A100", "A100")
    monkeypatch.setenv(VARIABLE, "3,1")
    with borrow("cuda", gpus=1, threads=1, folder=tmp_path, patience_seconds=0) as device:
        assert (device.gpus, device.names) == (("3",), ("A100",))
        assert os.environ[VARIABLE] == "3"
    assert os.environ[VARIABLE] == "3,1"


def test_a_gpu_that_another_calls_by_its_number_is_not_taken_by_its_uuid(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install("H100", "H100")
    monkeypatch.setenv(VARIABLE, "1")
    with borrow("cuda", gpus=1, threads=1, folder=tmp_path, patience_seconds=0):
        monkeypatch.setenv(VARIABLE, f"{Machine.uuid(1)},{Machine.uuid(0)}")
        with borrow("cuda", gpus=1, threads=1, folder=tmp_path, patience_seconds=0) as device:
            assert device.gpus == (Machine.uuid(0),)


@pytest.mark.parametrize(
    ("variable", "said"), [(None, "NVIDIA's driver shows none"), ("", "CUDA_VISIBLE_DEVICES='' hides all GPUs")]
)
def test_a_gpu_that_is_required_and_missing_needs_a_person(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str | None, said: str
) -> None:
    install(*(["H100"] if variable is not None else []))
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)
    with (
        pytest.raises(PermanentError, match=said) as raised,
        borrow("cuda", gpus=1, threads=1, folder=tmp_path),
    ):
        pass
    assert isinstance(raised.value, DeviceError)
    assert "PODSEARCH_DEVICE" in str(raised.value)


def test_auto_falls_back_to_the_cpu_and_says_so(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install()
    caplog.set_level(logging.INFO)
    with borrow("auto", gpus=1, threads=1, folder=tmp_path) as device:
        assert device == Device("cpu", fallback=True)
    assert "No GPU can be used: NVIDIA's driver shows none" in caplog.text
    assert "Using the CPU with 1 threads" in caplog.text


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_a_gpu_that_cuda_cannot_use_is_as_good_as_none(
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    wanted: str,
) -> None:
    install("H100")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if wanted == "auto":
        with borrow(wanted, gpus=1, threads=1, folder=tmp_path) as device:
            assert device == Device("cpu", fallback=True)
            assert VARIABLE not in os.environ
        told = [record.levelname for record in caplog.records if "No GPU can be used" in record.message]
        assert told == ["WARNING"], "for there is a GPU, doing nothing"
    else:
        with pytest.raises(DeviceError, match="CUDA cannot use"), borrow(wanted, gpus=1, threads=1, folder=tmp_path):
            pass
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with borrow("cuda", gpus=1, threads=1, folder=tmp_path, patience_seconds=0) as device:
        assert device.gpus, "it was given back"


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_more_gpus_than_there_are_fail_at_once(install: Install, tmp_path: Path, wanted: str) -> None:
    install("H100", "H100")
    with (
        pytest.raises(DeviceError, match=r"3 GPUs are needed, but this worker may use 2.*PODSEARCH_TRAINING_GPUS"),
        borrow(wanted, gpus=3, threads=1, folder=tmp_path),
    ):
        pass


def test_who_wants_the_cpu_waits_for_no_gpu(install: Install, tmp_path: Path) -> None:
    install("H100")
    with (
        borrow("cuda", gpus=1, threads=1, folder=tmp_path, patience_seconds=0),
        borrow("cpu", gpus=1, threads=1, folder=tmp_path / "none", patience_seconds=0) as device,
    ):
        assert device == Device("cpu")
    assert not (tmp_path / "none").exists()


def test_busy_gpus_are_waited_for_and_no_fallback_is_made(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install("H100")
    with borrow("auto", gpus=1, threads=1, folder=tmp_path, patience_seconds=0):
        monkeypatch.delenv(VARIABLE)
        with (
            pytest.raises(DevicesBusyError),
            borrow("auto", gpus=1, threads=1, folder=tmp_path, patience_seconds=0),
        ):
            pass


def test_where_cuda_is_initialised_it_is_too_late(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install("H100", "H100")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with (
        pytest.raises(RuntimeError, match="before a GPU was leased"),
        borrow("auto", gpus=1, threads=1, folder=tmp_path),
    ):
        pass


@pytest.mark.parametrize(("gpus", "threads", "expected"), [(4, 0, CORES), (1, 0, max(1, CORES // 4)), (1, 3, 3)])
def test_the_cores_are_shared_as_the_gpus_are(
    install: Install, tmp_path: Path, gpus: int, threads: int, expected: int
) -> None:
    install(*["H100"] * 4)
    with borrow("cuda", gpus=gpus, threads=threads, folder=tmp_path):
        assert torch.get_num_threads() == expected
