"""What every DAG keeps to, those included that are written tomorrow."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import RetryAction
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction, Timetable

from include.devices.device import DeviceError, borrow
from include.devices.lease import DevicesBusyError
from include.episodes.sources.files import DatasetError
from include.errors import PermanentError, RetryLaterError
from include.index.retire import retire
from include.index.write import delete_withdrawn, finish_namespace, prepare_namespace, upsert_shard
from include.quality.result import QualityError
from include.queries.opening import create_generator
from include.retriever.encoders.opening import open_encoder
from include.retriever.training.model import train
from include.settings import PROJECT, SettingsError
from operators.gpu import GpuOperator
from operators.names import Tag
from operators.pools import POOLS, Pool, Queue

DAG_FILES = sorted((PROJECT / "dags").glob("*.py"))
LOADS_A_MODEL = (open_encoder, create_generator, train, borrow)
WRITES_THE_INDEX = (prepare_namespace, upsert_shard, delete_withdrawn, finish_namespace, retire)


def tasks_of(dag_bag: DagBag) -> Iterator[tuple[str, Any]]:
    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            yield f"{dag.dag_id}.{task.task_id}", task


def timetables(dag_bag: DagBag) -> dict[str, Timetable]:
    """As the scheduler has them, which knows DAGs by their serialized form."""
    return {
        dag_id: DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
        for dag_id, dag in dag_bag.dags.items()
    }


def operator_class(task: Any) -> type:
    """Its operator's class, of a mapped task too."""
    return getattr(task, "operator_class", type(task))


def names_in_bodies(operator: type) -> set[str]:
    """Every name that the methods of an operator and of its bases in operators/ use."""
    classes = [one for one in operator.__mro__ if one.__module__.startswith("operators.")]
    nodes = [node for one in classes for node in ast.walk(ast.parse(inspect.getsource(one)))]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def tasks_that_use(dag_bag: DagBag, functions: Iterable[Callable[..., Any]]) -> dict[str, Any]:
    """The tasks whose operators use one of some functions, each of which one of them does."""
    used = {key: (task, names_in_bodies(operator_class(task))) for key, task in tasks_of(dag_bag)}
    for function in functions:
        assert any(function.__name__ in names for _, names in used.values()), f"nothing uses {function.__name__}"
    wanted = {function.__name__ for function in functions}
    return {key: task for key, (task, names) in used.items() if names & wanted}


def test_every_file_can_be_imported_and_holds_the_dag_it_is_named_after(dag_bag: DagBag) -> None:
    assert dag_bag.import_errors == {}
    assert set(dag_bag.dags) == {file.stem for file in DAG_FILES}


def test_the_local_runner_follows_the_dags_that_assets_hold_together(dag_bag: DagBag) -> None:
    from deploy.local.__main__ import DAGS

    awaited = {
        dag_id: {asset.name for _, asset in timetable.asset_condition.iter_assets()}
        for dag_id, timetable in timetables(dag_bag).items()
    }
    started = {dag_id for dag_id, assets in awaited.items() if assets}
    wanted = set().union(*awaited.values())
    publishing = {task.dag_id for _, task in tasks_of(dag_bag) if wanted & {asset.name for asset in task.outlets}}
    assert set(DAGS) == publishing | started


def test_tags_are_known_and_podsearch_is_one(dag_bag: DagBag) -> None:
    for dag in dag_bag.dags.values():
        assert Tag.PODSEARCH in dag.tags
        assert dag.tags <= set(Tag)


def test_the_page_of_a_dag_says_who_owns_it_and_what_to_do_when_it_fails(dag_bag: DagBag) -> None:
    for dag in dag_bag.dags.values():
        assert dag.description
        assert dag.doc_md is not None
        assert "**Owner:** podsearch" in dag.doc_md
        assert "**If it fails:**" in dag.doc_md


def test_runs_of_a_dag_never_overlap_nor_make_up_for_missed_ones(dag_bag: DagBag) -> None:
    for dag in dag_bag.dags.values():
        assert dag.max_active_runs == 1
        assert dag.catchup is False


@pytest.mark.parametrize("last_tick", [True, False], ids=["just after a tick", "between ticks"])
def test_unpausing_a_dag_starts_nothing(dag_bag: DagBag, monkeypatch: pytest.MonkeyPatch, last_tick: bool) -> None:
    now = datetime(2026, 3, 1, 3, 0, 30, tzinfo=UTC) if last_tick else datetime(2026, 3, 9, 12, tzinfo=UTC)
    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: now)
    for timetable in timetables(dag_bag).values():
        if not timetable.periodic:
            continue
        first = timetable.next_dagrun_info(
            last_automated_data_interval=None, restriction=TimeRestriction(earliest=None, latest=None, catchup=False)
        )
        assert first is not None
        assert first.run_after > now


def test_every_task_has_an_owner_and_is_tried_again(dag_bag: DagBag) -> None:
    for key, task in tasks_of(dag_bag):
        assert task.owner == "podsearch", key
        assert task.retries >= 1, key
        assert task.retry_delay > timedelta(0), key


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (PermanentError("no use"), RetryAction.FAIL),
        (SettingsError("no use"), RetryAction.FAIL),
        (DatasetError("no use"), RetryAction.FAIL),
        (QualityError("no use"), RetryAction.FAIL),
        (DeviceError("no use"), RetryAction.FAIL),
        (RetryLaterError("told when", seconds=90), RetryAction.RETRY),
        (RetryLaterError("try again"), RetryAction.DEFAULT),
        (DevicesBusyError("try again"), RetryAction.DEFAULT),
        (ConnectionError("try again"), RetryAction.DEFAULT),
        (MemoryError(), RetryAction.DEFAULT),
        (RuntimeError("who knows"), RetryAction.DEFAULT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value.value,
)
def test_every_task_fails_at_once_on_what_only_a_person_can_mend(
    dag_bag: DagBag, error: Exception, action: RetryAction
) -> None:
    for key, task in tasks_of(dag_bag):
        assert task.retry_policy is not None, key
        assert task.retry_policy.evaluate(error, try_number=1, max_tries=2).action is action, key


def test_a_pool_that_nobody_makes_is_not_waited_for(dag_bag: DagBag) -> None:
    assert {task.pool for _, task in tasks_of(dag_bag)} <= {*POOLS, "default_pool"}


def test_models_are_loaded_by_tasks_that_have_a_gpu_to_themselves(dag_bag: DagBag) -> None:
    """Or, if their declaration says that they need none, the CPU."""
    loading = tasks_that_use(dag_bag, LOADS_A_MODEL)
    assert [key for key, task in loading.items() if not issubclass(operator_class(task), GpuOperator)] == []


def test_who_needs_gpus_waits_for_as_many_where_they_are(dag_bag: DagBag) -> None:
    needed = {
        key: (task, task.partial_kwargs["gpus"] if hasattr(task, "partial_kwargs") else task.gpus)
        for key, task in tasks_of(dag_bag)
        if issubclass(operator_class(task), GpuOperator)
    }
    assert needed["reindex_episodes.encode_shard"][1] == 1
    for key, (task, gpus) in needed.items():
        place = (Pool.GPU, gpus, Queue.GPU) if gpus else ("default_pool", 1, "default")
        assert (task.pool, task.pool_slots, task.queue) == place, key


def test_nobody_else_takes_the_slots_of_the_gpus(dag_bag: DagBag) -> None:
    others = [
        key
        for key, task in tasks_of(dag_bag)
        if (task.pool == Pool.GPU or task.queue == Queue.GPU) and not issubclass(operator_class(task), GpuOperator)
    ]
    assert others == []


def test_the_index_has_one_writer_at_a_time(dag_bag: DagBag) -> None:
    for key, task in tasks_that_use(dag_bag, WRITES_THE_INDEX).items():
        assert task.pool == Pool.INDEX, key


def test_every_task_is_an_operator_of_ours(dag_bag: DagBag) -> None:
    for key, task in tasks_of(dag_bag):
        assert operator_class(task).__module__.startswith("operators."), key


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_dag_files_hold_no_logic(file: Path) -> None:
    logic = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.If, ast.For, ast.While, ast.Try)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert [type(node).__name__ for node in ast.walk(tree) if isinstance(node, logic)] == []
    imports = {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imports <= {"__future__", "datetime", "airflow", "operators"}


READ_DAGS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
before = set(sys.modules)
bag = DagBag(dag_folder=sys.argv[1])
loaded = sorted({name.split(".")[0] for name in set(sys.modules) - before})
from airflow.serialization.serialized_objects import DagSerialization
dags = {dag_id: DagSerialization.to_dict(dag) for dag_id, dag in bag.dags.items()}
with open(sys.argv[2], "w") as file:
    json.dump({"loaded": loaded, "dags": dags}, file)
"""


@pytest.fixture(scope="module")
def read_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What another process, which has loaded nothing else and hashes otherwise, makes of the DAGs."""
    folder = tmp_path_factory.mktemp("dags")
    subprocess.run(
        [sys.executable, "-c", READ_DAGS, str(PROJECT / "dags"), str(folder / "read.json")],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONHASHSEED": "7"},
        check=True,
    )
    read: dict[str, Any] = json.loads((folder / "read.json").read_text())
    return read


def test_reading_the_dags_loads_nothing_heavy(read_elsewhere: dict[str, Any]) -> None:
    ruff = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    heavy = {"numpy", "scipy", *ruff["lint"]["flake8-tidy-imports"]["banned-module-level-imports"]}
    assert "operators" in read_elsewhere["loaded"]
    assert heavy.intersection(read_elsewhere["loaded"]) == set()


def test_reading_the_dags_again_makes_no_new_version(dag_bag: DagBag, read_elsewhere: dict[str, Any]) -> None:
    for dag_id, dag in dag_bag.dags.items():
        here = json.dumps(DagSerialization.to_dict(dag), sort_keys=True, indent=1).splitlines()
        there = json.dumps(read_elsewhere["dags"][dag_id], sort_keys=True, indent=1).splitlines()
        assert here == there
