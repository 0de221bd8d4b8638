"""What is made before Airflow's containers start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest

from deploy.cluster import __main__ as cluster
from operators.pools import POOLS, Pool
from tests.standins.s3 import ENVIRONMENT, S3StandIn, moto


def test_only_pools_that_are_missing_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, dict[str, object]]] = []

    def airflow(*arguments: str) -> str:
        if arguments[:2] == ("pools", "list"):
            return json.dumps([{"pool": "default_pool"}, {"pool": Pool.INDEX.value}])
        assert arguments[:2] == ("pools", "import")
        made.append(json.loads(Path(arguments[2]).read_text()))
        return ""

    monkeypatch.setattr(cluster, "airflow", airflow)
    cluster.make_pools(4)
    assert made == [{"gpu": {"slots": 4, "description": POOLS[Pool.GPU][1], "include_deferred": False}}]


def test_without_a_password_there_is_no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "airflow", lambda *_: pytest.fail("nothing is made"))
    with pytest.raises(cluster.SetUpError, match="run `make secrets`"):
        cluster.make_admin("")


def test_a_password_may_begin_with_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in 64 that `make secrets` makes does, and Airflow took it for an option."""
    said: list[tuple[str, ...]] = []

    def airflow(*arguments: str) -> str:
        said.append(arguments)
        return ""

    monkeypatch.setattr(cluster, "airflow", airflow)
    cluster.make_admin("-open-sesame")
    assert "--password=-open-sesame" in said[0]


def test_a_command_that_fails_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=2, stdout=""))
    with pytest.raises(cluster.SetUpError) as failed:
        cluster.make_admin("open sesame")
    assert str(failed.value) == "airflow users create failed (exit 2); see above."


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3StandIn]:
    with moto() as port, S3StandIn(port).serve() as standin:
        for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": standin.url}).items():
            monkeypatch.setenv(name, value)
        yield standin


def test_the_bucket_is_made_once_and_left_empty(store: S3StandIn) -> None:
    for _ in range(2):
        cluster.require_conditional_writes("s3://here/artifacts")
    assert boto3.client("s3").list_objects_v2(Bucket="here")["KeyCount"] == 0


@pytest.mark.parametrize("ignored", ["IfNoneMatch", "IfMatch"])
def test_a_store_that_ignores_a_condition_is_refused(store: S3StandIn, ignored: str) -> None:
    store.ignores = {{"IfNoneMatch": "if-none-match", "IfMatch": "if-match"}[ignored]}
    with pytest.raises(cluster.SetUpError, match=f"The store of s3://here/artifacts ignored {ignored}"):
        cluster.require_conditional_writes("s3://here/artifacts")
    assert boto3.client("s3").list_objects_v2(Bucket="here")["KeyCount"] == 0


def test_a_folder_is_no_store_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    cluster.require_conditional_writes("/var/lib/artifacts")
