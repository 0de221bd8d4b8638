"""What the images install: every package they need, at the version that is tested, and only archives that are known."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from include.settings import PROJECT

DOCKERFILE = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
SHA256 = re.compile(r"--hash=sha256:[0-9a-f]{64}")
PROVIDER = "podsearch-airflow-provider"
NOT_FROZEN = {"httpx2-jsfetch", "pyyaml-ft", "setuptools"}
"""Wanted on other systems or by other releases of Python than ``constraints.txt`` was written with, or left out by
``pip freeze``."""


@cache
def packages(text: str = "") -> dict[str, tuple[Requirement, list[str]]]:
    """Requirements of a list with hashes (default: ``requirements-image.txt``), and what pip is told of each."""
    listed = (text or (PROJECT / "requirements-image.txt").read_text()).replace("\\\n", "")
    lines = [line.split("    ") for line in listed.splitlines() if not line.startswith("#")]
    found = {requirement: [one.strip() for one in options] for requirement, *options in lines}
    return {canonicalize_name(Requirement(text).name): (Requirement(text), options) for text, options in found.items()}


def pins(file: str) -> dict[str, str]:
    """Versions by name."""
    lines = (PROJECT / file).read_text().splitlines()
    named = (Requirement(line) for line in lines if re.match(r"\w", line))
    return {canonicalize_name(one.name): str(one.specifier) for one in named}


def is_cuda(name: str) -> bool:
    return name == "triton" or (name.startswith(("cuda-", "nvidia-")) and name != "nvidia-ml-py")


def test_each_package_is_pinned_and_has_a_hash() -> None:
    assert len(packages()) > 250
    for requirement, options in packages().values():
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), requirement
        assert options, requirement
        assert all(SHA256.fullmatch(option) for option in options), requirement


def test_versions_are_those_that_are_tested() -> None:
    tested = pins("constraints.txt")
    listed = {name: str(requirement.specifier) for name, (requirement, _) in packages().items()}
    assert {name: pin for name, pin in listed.items() if tested.get(name, pin) != pin} == {}, "run `make hashes`"
    assert {name for name in listed.keys() - tested.keys() if not is_cuda(name)} == NOT_FROZEN


def test_nothing_is_missing_for_pip_looks_for_nothing_else() -> None:
    for file in ("requirements.txt", "requirements-cluster.txt"):
        assert pins(file).items() <= {name: str(one.specifier) for name, (one, _) in packages().items()}.items()
    wanted = {
        canonicalize_name(needed.name)
        for distribution in importlib.metadata.distributions()
        if canonicalize_name(distribution.name) in packages()
        for needed in map(Requirement, distribution.requires or ())
        if needed.marker is None or needed.marker.evaluate({"extra": ""})
    }
    assert wanted - packages().keys() - {PROVIDER} == set(), "run `make hashes`"


def test_for_cpus_all_is_installed_but_pytorch_and_cuda(tmp_path: Path) -> None:
    [rule] = re.findall(r"awk ('[^']+') requirements-image.txt > cpu.txt", DOCKERFILE)
    command = ["sh", "-c", f"awk {rule} '{PROJECT / 'requirements-image.txt'}'"]
    kept = packages(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert {name for name in packages().keys() - kept.keys() if not is_cuda(name)} == {"torch"}
    assert not any(map(is_cuda, kept))
    assert all(packages()[name][1] == options for name, (_, options) in kept.items())


def test_both_images_install_only_what_has_a_hash() -> None:
    installed = re.findall(r"pip install (.+?)(?: \\)?$", DOCKERFILE, re.MULTILINE)
    assert installed == [
        "--no-deps --require-hashes --requirement cpu.txt",
        '--no-deps --extra-index-url "${TORCH_INDEX}" --constraint constraints.txt torch ./deploy/provider',
        "--no-deps --require-hashes --requirement requirements-image.txt",
        "--no-deps ./deploy/provider",
    ]
    assert DOCKERFILE.count("&& pip check") == 2
