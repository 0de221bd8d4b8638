from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.episodes import prepare as prepare_module
from include.episodes import snapshot
from include.episodes.ingest import WORK
from include.episodes.schema import SCHEMA_VERSION
from include.episodes.sources.files import fingerprint
from include.episodes.workers import Workers
from include.errors import PermanentError
from include.settings import get_settings
from operators.episodes import (
    CheckSourceOperator,
    FetchDatasetOperator,
    PrepareSnapshotOperator,
    PublishSnapshotOperator,
)
from operators.names import EPISODES
from tests.operators.conftest import FakeContext, Installation, ingest

Skips = Callable[[Any, FakeContext], str]


def check() -> CheckSourceOperator:
    return CheckSourceOperator(task_id="check_source")


def fetch(version: str) -> FetchDatasetOperator:
    return FetchDatasetOperator(task_id="fetch_dataset", source_version=version)


def prepare(installation: Installation, version: str) -> PrepareSnapshotOperator:
    folder = str(installation.dataset)
    return PrepareSnapshotOperator(task_id="prepare_snapshot", folder=folder, source_version=version)


def test_a_source_that_was_never_ingested_is_new(installation: Installation, context: FakeContext) -> None:
    assert check().execute(context) == fingerprint(installation.dataset)  # type: ignore[arg-type]


def test_an_ingested_source_is_skipped_and_the_log_says_so(
    installation: Installation, context: FakeContext, skips: Skips, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = ingest(context)
    reason = skips(check(), context)
    assert summary["snapshot_id"] in reason
    assert str(installation.dataset) in reason
    assert "Nothing new" in capsys.readouterr().out


def test_a_changed_source_is_new(installation: Installation, context: FakeContext) -> None:
    ingest(context)
    installation.write_dataset(episodes=7)
    assert check().execute(context) == fingerprint(installation.dataset)  # type: ignore[arg-type]


def test_an_unchanged_source_is_prepared_anew_when_preparation_changed(
    installation: Installation, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(context)
    monkeypatch.setattr("include.episodes.schema.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    assert check().execute(context) == fingerprint(installation.dataset)  # type: ignore[arg-type]


def test_a_source_that_is_not_there_is_not_tried_again(installation: Installation, context: FakeContext) -> None:
    (installation.dataset / "episodes.csv").unlink()
    with pytest.raises(PermanentError, match="PODSEARCH_DATASET_DIR"):
        check().execute(context)  # type: ignore[arg-type]


def test_preparing_writes_a_whole_snapshot_that_nobody_reads_yet(
    installation: Installation, context: FakeContext
) -> None:
    snapshot_id = prepare(installation, fingerprint(installation.dataset)).execute(context)  # type: ignore[arg-type]

    manifest = snapshot.load(installation.store, snapshot_id)
    assert (manifest.episodes, manifest.shows, manifest.shards) == (6, 2, installation.settings.shards)
    assert manifest.source_version == fingerprint(installation.dataset)
    assert len(snapshot.read(installation.store, snapshot_id)) == 6
    assert len(snapshot.read_quarantine(installation.store, snapshot_id)) == 0
    assert snapshot.latest(installation.store) is None


def test_preparing_takes_as_many_processes_as_the_settings_say_and_leaves_no_work_behind(
    installation: Installation, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[int, Path]] = []

    class Counted(Workers):
        def __init__(self, factory: Any, arguments: dict[str, Any], *, count: int) -> None:
            started.append((count, arguments["folder"]))
            super().__init__(factory, arguments, count=count)

    monkeypatch.setattr(prepare_module, "Workers", Counted)
    monkeypatch.setattr(prepare_module, "SMALL_BYTES", 0)
    monkeypatch.setenv("PODSEARCH_PROCESSES", "3")
    get_settings.cache_clear()
    prepare(installation, fingerprint(installation.dataset)).execute(context)  # type: ignore[arg-type]

    work = installation.settings.work_root / WORK
    assert started == [(3, work)]
    assert not work.exists()


def test_a_source_that_changed_after_it_was_checked_is_refused_and_nothing_is_written(
    installation: Installation, context: FakeContext
) -> None:
    version = check().execute(context)  # type: ignore[arg-type]
    installation.write_dataset(episodes=7)
    for task in (fetch(version), prepare(installation, version)):
        with pytest.raises(PermanentError, match="trigger ingest_episodes again"):
            task.execute(context)  # type: ignore[arg-type]
    assert installation.store.names("snapshots") == []


def test_publishing_makes_the_snapshot_the_latest_and_announces_what_changed(
    installation: Installation, context: FakeContext
) -> None:
    first = ingest(context)
    latest = snapshot.latest(installation.store)
    assert latest is not None
    assert latest.snapshot_id == first["snapshot_id"]
    assert context.announced(EPISODES) == first
    assert {name: first[name] for name in ("episodes", "shows", "added", "changed", "removed")} == {
        **{"episodes": 6, "shows": 2},
        **{"added": 6, "changed": 0, "removed": 0},
    }

    installation.write_dataset(episodes=4)
    second = ingest(context)
    assert (second["added"], second["removed"]) == (0, 2)
    assert context.announced(EPISODES) == second


def test_publishing_again_announces_the_same(installation: Installation, context: FakeContext) -> None:
    ingest(context)
    installation.write_dataset(episodes=8)
    summary = ingest(context)
    assert summary["added"] == 2
    publish = PublishSnapshotOperator(
        task_id="publish_snapshot", snapshot_id=summary["snapshot_id"], run_name=summary["source_version"]
    )
    assert publish.execute(context) == summary  # type: ignore[arg-type]


def test_going_back_to_an_earlier_source_is_announced_as_the_change_it_is(
    installation: Installation, context: FakeContext
) -> None:
    first = ingest(context)
    installation.write_dataset(episodes=9)
    ingest(context)
    installation.write_dataset()
    back = ingest(context)
    assert back["snapshot_id"] == first["snapshot_id"]
    assert (back["added"], back["removed"]) == (0, 3)


@pytest.mark.parametrize(
    ("operator", "fields"),
    [
        (FetchDatasetOperator, {"source_version"}),
        (PrepareSnapshotOperator, {"folder", "source_version"}),
        (PublishSnapshotOperator, {"snapshot_id", "run_name"}),
    ],
)
def test_what_differs_between_runs_can_be_templated(operator: Any, fields: set[str]) -> None:
    assert set(operator.template_fields) == fields
