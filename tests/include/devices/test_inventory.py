from __future__ import annotations

import subprocess
import sys

import pynvml
import pytest

from include.devices.inventory import Gpu, gpus, identify, visible_gpus
from include.settings import PROJECT
from tests.include.devices.conftest import Install, Machine


def no_driver() -> None:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)


def test_the_gpus_of_the_machine_are_told_by_their_model(install: Install) -> None:
    install("H100", "A100")
    assert gpus() == [Gpu(0, Machine.uuid(0), "H100"), Gpu(1, Machine.uuid(1), "A100")]
    assert visible_gpus() == [Machine.uuid(0), Machine.uuid(1)]


def test_without_a_driver_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(pynvml, "nvmlInit", no_driver)
    assert gpus() == []
    assert visible_gpus() == []


def test_a_gpu_that_is_lost_does_not_hide_the_others(install: Install) -> None:
    install("H100", "H100", "H100", lost=frozenset({1}))
    assert [gpu.index for gpu in gpus()] == [0, 2]


@pytest.mark.parametrize(
    ("variable", "visible"),
    [
        ("1,0", ["1", "0"]),
        (" GPU-12 , MIG-34/1/0", ["GPU-12", "MIG-34/1/0"]),
        ("2,2", ["2"]),
        ("", []),
        ("-1", []),
        ("1,-1,2", ["1"]),
    ],
)
def test_what_is_visible_is_what_cuda_is_told(
    install: Install, monkeypatch: pytest.MonkeyPatch, variable: str, visible: list[str]
) -> None:
    install("H100", "H100", "H100")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == visible


def test_a_gpu_is_one_however_it_is_called(install: Install) -> None:
    install("H100", "H100")
    names = ["1", Machine.uuid(1), "GPU-1a", "GPU-", "7", "MIG-1"]
    assert identify(names, gpus()) == {
        **dict.fromkeys(["1", Machine.uuid(1), "GPU-1a"], Machine.uuid(1)),
        **{"GPU-": "GPU-", "7": "7", "MIG-1": "MIG-1"},
    }


def test_looking_for_gpus_loads_neither_torch_nor_cuda() -> None:
    code = (
        "import sys; from include.devices.inventory import visible_gpus; visible_gpus()\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'libcuda.so' not in open('/proc/self/maps').read()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)
