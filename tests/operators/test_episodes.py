from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from airflow.sdk.exceptions import DownstreamTasksSkipped

from include.episodes import prepare as prepare_module
from include.episodes import snapshot
from include.episodes.ingest import WORK
from include.episodes.schema import SCHEMA_VERSION
from include.episodes.sources.files import fingerprint
from include.errors import PermanentError
from include.settings import get_settings
from operators.episodes import (
    CheckSourceOperator,
    FetchDatasetOperator,
    GoBackOperator,
    PrepareSnapshotOperator,
    PublishSnapshotOperator,
)
from operators.names import EPISODES
from tests.operators.conftest import FakeContext, Installation, execute, ingest

Skips = Callable[[Any, FakeContext], str]


def check() -> CheckSourceOperator:
    return CheckSourceOperator(task_id="check_source")


def fetch(version: str) -> FetchDatasetOperator:
    return FetchDatasetOperator(task_id="fetch_dataset", source_version=version)


def prepare(installation: Installation, version: str) -> PrepareSnapshotOperator:
    folder = str(installation.dataset)
    return PrepareSnapshotOperator(task_id="prepare_snapshot", folder=folder, source_version=version)


def publish(summary: dict[str, Any], began: FakeContext) -> PublishSnapshotOperator:
    """The publishing task of a run, cleared: what the run was told, and what it saw when it began."""
    return PublishSnapshotOperator(
        task_id="publish_snapshot",
        snapshot_id=summary["snapshot_id"],
        source_version=summary["source_version"],
        latest=began.ti.pushed["latest"],
        run_name=summary["source_version"],
    )


def run_of(installation: Installation, episodes: int) -> tuple[dict[str, Any], FakeContext]:
    """A run on a source of so many episodes: what it published, and its context."""
    installation.write_dataset(episodes=episodes)
    context = FakeContext()
    return ingest(context), context


def latest_of(installation: Installation) -> str:
    latest = snapshot.latest(installation.store)
    assert latest is not None
    return latest.snapshot_id


def go_back(snapshot_id: str, context: FakeContext) -> dict[str, Any]:
    """A run that was told to go back."""
    with pytest.raises(DownstreamTasksSkipped):
        execute(CheckSourceOperator(task_id="check_source", go_back_to=snapshot_id), context)
    task = GoBackOperator(
        task_id="go_back", snapshot_id=snapshot_id, latest=context.ti.pushed["latest"], run_name="back"
    )
    return execute(task, context)


def test_a_cleared_publishing_task_of_an_older_run_does_not_take_the_catalogue_back(
    installation: Installation, skips: Skips
) -> None:
    older, began = run_of(installation, 6)
    newer, _ = run_of(installation, 8)
    cleared = FakeContext()
    reason = skips(publish(older, began), cleared)
    assert latest_of(installation) == newer["snapshot_id"]
    assert "A newer run has overtaken this one, so it changes nothing." in reason
    assert f"go_back_to={older['snapshot_id']}" in reason
    assert not cleared.announced(EPISODES), "no re-index is started"


def test_a_publishing_task_that_failed_is_overtaken_by_a_run_since_even_if_that_went_back(
    installation: Installation, skips: Skips
) -> None:
    first, _ = run_of(installation, 6)
    installation.write_dataset(episodes=7)
    began = FakeContext()
    version = execute(check(), began)
    late = {"snapshot_id": execute(prepare(installation, version), began), "source_version": version}
    run_of(installation, 8)
    go_back(first["snapshot_id"], FakeContext())
    skips(publish(late, began), FakeContext())
    assert latest_of(installation) == first["snapshot_id"]


def test_a_snapshot_of_another_version_than_the_run_looked_up_is_not_published(installation: Installation) -> None:
    older, began = run_of(installation, 6)
    newer, _ = run_of(installation, 8)
    mixed = older | {"source_version": newer["source_version"]}
    with pytest.raises(PermanentError, match="clear prepare_snapshot with the tasks after it"):
        execute(publish(mixed, began), FakeContext())
    assert latest_of(installation) == newer["snapshot_id"]


def test_going_back_on_purpose_is_said_announced_and_not_undone_by_the_next_run(
    installation: Installation, skips: Skips, capsys: pytest.CaptureFixture[str]
) -> None:
    older, _ = run_of(installation, 6)
    newer, _ = run_of(installation, 8)
    context = FakeContext()
    back = go_back(older["snapshot_id"], context)
    assert latest_of(installation) == older["snapshot_id"]
    assert (back["added"], back["removed"]) == (0, 2)
    assert context.announced(EPISODES) == back
    assert f"Went back, as requested, to the snapshot {older['snapshot_id']}" in capsys.readouterr().out

    assert "a person went back from it" in skips(check(), FakeContext())
    go_back(newer["snapshot_id"], FakeContext())
    assert latest_of(installation) == newer["snapshot_id"]
    go_back(older["snapshot_id"], FakeContext())
    newest, _ = run_of(installation, 9)
    assert latest_of(installation) == newest["snapshot_id"], "a newer version is ingested all the same"


def test_a_cleared_task_that_went_back_is_overtaken_as_well(installation: Installation, skips: Skips) -> None:
    older, _ = run_of(installation, 6)
    run_of(installation, 8)
    began = FakeContext()
    go_back(older["snapshot_id"], began)
    newest, _ = run_of(installation, 9)
    task = GoBackOperator(
        task_id="go_back", snapshot_id=older["snapshot_id"], latest=began.ti.pushed["latest"], run_name="back"
    )
    skips(task, FakeContext())
    assert latest_of(installation) == newest["snapshot_id"]


def test_one_goes_back_to_a_published_snapshot_only_and_only_if_told_to(
    installation: Installation, context: FakeContext, skips: Skips
) -> None:
    published, _ = run_of(installation, 6)
    written = installation.write_snapshot("never published")
    for name in (written, "0123456789ab"):
        with pytest.raises(PermanentError, match=f"{name}.* The last ones are: {published['snapshot_id']}"):
            go_back(name, FakeContext())
    task = GoBackOperator(task_id="go_back", snapshot_id="", latest="nothing", run_name="back")
    assert "not asked to go back" in skips(task, context)


def test_a_source_that_was_never_ingested_is_new(installation: Installation, context: FakeContext) -> None:
    assert execute(check(), context) == fingerprint(installation.dataset)


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
    assert execute(check(), context) == fingerprint(installation.dataset)


def test_an_unchanged_source_is_prepared_anew_when_preparation_changed(
    installation: Installation, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(context)
    monkeypatch.setattr("include.episodes.schema.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    assert execute(check(), context) == fingerprint(installation.dataset)


def test_a_source_that_is_not_there_is_not_tried_again(installation: Installation, context: FakeContext) -> None:
    (installation.dataset / "episodes.csv").unlink()
    with pytest.raises(PermanentError, match="PODSEARCH_DATASET_DIR"):
        execute(check(), context)


def test_preparing_writes_a_whole_snapshot_that_nobody_reads_yet(
    installation: Installation, context: FakeContext
) -> None:
    snapshot_id = execute(prepare(installation, fingerprint(installation.dataset)), context)

    manifest = snapshot.load(installation.store, snapshot_id)
    assert (manifest.episodes, manifest.shows, manifest.shards) == (6, 2, installation.settings.episodes.shards)
    assert manifest.source_version == fingerprint(installation.dataset)
    assert len(snapshot.read(installation.store, snapshot_id)) == 6
    assert len(snapshot.read_quarantine(installation.store, snapshot_id)) == 0
    assert snapshot.latest(installation.store) is None


def test_preparing_takes_as_many_threads_as_the_settings_say_and_leaves_no_work_behind(
    installation: Installation, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    class Counted(ThreadPoolExecutor):
        def __init__(self, count: int, **options: Any) -> None:
            started.append(count)
            super().__init__(count, **options)

    monkeypatch.setattr(prepare_module, "ThreadPoolExecutor", Counted)
    monkeypatch.setenv("PODSEARCH_THREADS", "3")
    get_settings.cache_clear()
    execute(prepare(installation, fingerprint(installation.dataset)), context)

    assert started == [3]
    assert not (installation.settings.installation.work_root / WORK).exists()


def test_a_source_that_changed_after_it_was_checked_is_refused_and_nothing_is_written(
    installation: Installation, context: FakeContext
) -> None:
    version = execute(check(), context)
    installation.write_dataset(episodes=7)
    for task in (fetch(version), prepare(installation, version)):
        with pytest.raises(PermanentError, match="trigger ingest_episodes again"):
            execute(task, context)
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
    assert execute(publish(summary, context), context) == summary


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
        (CheckSourceOperator, {"go_back_to"}),
        (PublishSnapshotOperator, {"snapshot_id", "source_version", "latest", "run_name"}),
        (GoBackOperator, {"snapshot_id", "latest", "run_name"}),
    ],
)
def test_what_differs_between_runs_can_be_templated(operator: Any, fields: set[str]) -> None:
    assert set(operator.template_fields) == fields
