"""What is made before Airflow's containers start."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.cluster import __main__ as cluster
from operators.names import POOLS, Pool


def test_only_pools_that_are_missing_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, ...]] = []

    def airflow(*arguments: str) -> str:
        said.append(arguments)
        return json.dumps([{"pool": "default_pool"}, {"pool": Pool.INDEX.value}]) if arguments[1] == "list" else ""

    monkeypatch.setattr(cluster, "airflow", airflow)
    cluster.make_pools(4)
    assert said[1:] == [("pools", "set", "gpu", "4", POOLS[Pool.GPU][1])]


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


class RefusedError(Exception):
    """As botocore's ClientError."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


class Store:
    """An S3 client of one object; the conditions that it minds can be chosen."""

    def __init__(self, minds: set[str]) -> None:
        self.minds = minds
        self.keys: set[str] = set()

    def create_bucket(self, **_: Any) -> None:
        raise RefusedError("BucketAlreadyOwnedByYou", 409)

    def put_object(self, *, Key: str, Body: bytes, Bucket: str, **condition: str) -> None:
        if Key in self.keys and self.minds & set(condition):
            raise RefusedError("PreconditionFailed", 412)
        self.keys.add(Key)

    def delete_object(self, *, Key: str, Bucket: str) -> None:
        self.keys.remove(Key)


@pytest.mark.parametrize("ignored", [None, "IfNoneMatch", "IfMatch"])
def test_a_store_that_ignores_a_condition_is_refused(monkeypatch: pytest.MonkeyPatch, ignored: str | None) -> None:
    store = Store({"IfNoneMatch", "IfMatch"} - {ignored or ""})
    monkeypatch.setitem(sys.modules, "boto3", SimpleNamespace(client=lambda _: store))
    monkeypatch.setitem(sys.modules, "botocore.exceptions", SimpleNamespace(ClientError=RefusedError))
    if ignored:
        with pytest.raises(cluster.SetUpError, match=f"The store of s3://here/artifacts ignored {ignored}"):
            cluster.require_conditional_writes("s3://here/artifacts")
    else:
        cluster.require_conditional_writes("s3://here/artifacts")
    assert store.keys == set()


def test_a_folder_is_no_store_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    cluster.require_conditional_writes("/var/lib/artifacts")
