"""Each kind of bad data ends as the table says, and no row is ever lost on the way.

The tasks are those of the DAG itself, executed one after another in this process: a check that is taken out of the DAG
is missed here.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.context import OutletEventAccessors
from selectolax.lexbor import LexborHTMLParser

from dags import ingest_episodes
from include.episodes import snapshot
from include.episodes.columns import COLUMNS
from include.errors import PermanentError
from include.quality import pages
from include.quality.result import DOCS, FOLDER, QualityError, load_all
from include.settings import get_settings
from include.storage import ArtifactStore
from tests.operators.bad_data.draft import Case, Draft, Published, Stops
from tests.operators.bad_data.rows import HOSTILE
from tests.operators.bad_data.table import CASES, PAGE, SECTIONS, tables


@dataclass
class Run:
    """What became of one run of the DAG: what its tasks returned, and how those ended that failed."""

    name: str
    task_id: str = ""
    returned: dict[str, Any] = field(default_factory=dict)
    pushed: dict[tuple[str, str], Any] = field(default_factory=dict)
    failed: dict[str, PermanentError] = field(default_factory=dict)

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        return self.returned[task_ids] if key == "return_value" else self.pushed[task_ids, key]

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[self.task_id, key] = value


def ingest(number: int) -> Run:
    """Run the DAG as Airflow does: a task when all those before it have succeeded, with its templates rendered."""
    dag: Any = ingest_episodes.publish_snapshot.dag
    moment = datetime(2018, 1, 1, tzinfo=UTC) + timedelta(days=number)
    run = Run("")
    context: Any = {
        "ti": run,
        "dag_run": SimpleNamespace(run_after=moment),
        "params": dag.params.dump(),
        "outlet_events": OutletEventAccessors(),
    }
    for task in dag.topological_sort():
        if task.upstream_task_ids <= run.returned.keys():
            run.task_id = task.task_id
            task = task.prepare_for_execution()
            task.render_template_fields(context)
            before, run.name = run.name, getattr(task, "run_name", run.name)
            try:
                run.returned[task.task_id] = task.execute(context)
            except AirflowSkipException:
                run.name = before
            except PermanentError as error:  # anything else is a fault of ours: it would be tried again for nothing
                run.failed[task.task_id] = error
    return run


def use(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Have an installation in a folder, whose dataset is there, too."""
    values = {"HOME": str(folder / "home"), "DATASET_DIR": str(folder / "dataset"), **settings}
    for name, value in values.items():
        monkeypatch.setenv(f"PODSEARCH_{name}", value)
    get_settings.cache_clear()


def store() -> ArtifactStore:
    return ArtifactStore(get_settings().installation.artifacts_root)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An installation that has published the good catalogue."""
    folder = tmp_path_factory.mktemp("good")
    Draft().write(folder / "dataset")
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(folder, monkeypatch)
        run = ingest(0)
        assert run.failed == {}
        assert run.returned["publish_snapshot"]["quality"]["warnings"] == []
        assert run.returned["publish_snapshot"]["quarantined"] == {}
    yield folder
    get_settings.cache_clear()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_data_ends_as_specified(
    case: Case, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = Draft()
    case.spoil(draft)
    draft.write(tmp_path / "dataset")
    shutil.copytree(published / "home" / "artifacts" / "snapshots", tmp_path / "home" / "artifacts" / "snapshots")
    use(tmp_path, monkeypatch, **case.settings)
    before = snapshot.latest(store())
    assert before is not None

    run = ingest(1)

    if isinstance(case.ends, Stops):
        assert_stopped(case.ends, run)
        assert snapshot.latest(store()) == before
    else:
        assert_published(case.ends, run)
        assert_neighbours_unharmed(draft, before.snapshot_id, run)
    if snapshot_id := run.returned.get("prepare_snapshot"):
        assert_nothing_lost(draft, snapshot_id)
    assert_pages_are_safe(run)


def assert_stopped(ends: Stops, run: Run) -> None:
    assert run.failed.keys() == ends.messages.keys()
    assert "publish_snapshot" not in run.returned
    for task, phrase in ends.messages.items():
        message = str(run.failed[task])
        assert re.search(".*".join(map(re.escape, phrase.split(" … "))), message), message
        if isinstance(run.failed[task], QualityError):
            (docs,) = re.findall("Data Docs: (.+)", message)
            assert store().exists(docs)


def assert_published(ends: Published, run: Run) -> None:
    assert run.failed == {}
    summary = run.returned["publish_snapshot"]
    latest = snapshot.latest(store())
    assert latest is not None
    assert latest.snapshot_id == summary["snapshot_id"]
    assert summary["quarantined"] == ends.quarantined
    missed = [item.what for result in load_all(store(), run.name) for item in result.warnings]
    assert sorted(missed) == sorted(ends.warnings)
    if ends.holds:
        episode_id, values = ends.holds
        rows = snapshot.read(store(), latest.snapshot_id).to_pylist()
        (row,) = (row for row in rows if row["episode_id"] == episode_id)
        assert {name: row[name] for name in values} == values
    for name, count in ends.counted.items():
        assert latest.counts[name] == count


def assert_neighbours_unharmed(draft: Draft, before: str, run: Run) -> None:
    """An episode is as it was, unless itself or its show has been spoiled."""
    known = {file: [row for row in Draft().rows[file] if row in draft.rows[file]] for file in COLUMNS}
    shows = {row["uuid"] for row in known["podcasts"] if isinstance(row, dict)}
    spared = {row["uuid"] for row in known["episodes"] if isinstance(row, dict) and row["podcast_uuid"] in shows}
    first, second = (
        {row["episode_id"]: row for row in snapshot.read(store(), key).to_pylist() if row["episode_id"] in spared}
        for key in (before, run.returned["prepare_snapshot"])
    )
    assert first == second


def assert_nothing_lost(draft: Draft, snapshot_id: str) -> None:
    """Each row of the files is among the episodes or in quarantine, and none is in both."""
    manifest = snapshot.load(store(), snapshot_id)
    quarantine = snapshot.read_quarantine(store(), snapshot_id).to_pylist()
    for file in COLUMNS:
        rows = [row for row in draft.rows[file] if not isinstance(row, bytes) or row.strip()]
        aside = [row for row in quarantine if row["file"] == file]
        assert manifest.counts[f"{file}_read"] == len(rows)
        assert manifest.counts[f"{file}_read"] == manifest.counts[f"{file}_kept"] + len(aside)
        assert manifest.counts[f"{file}_quarantined"] == len(aside)
        assert len({row["row"] for row in aside}) == len(aside)
        assert all(row["raw"] for row in aside), "what the row was can be looked up"
    assert manifest.counts["episodes_kept"] == manifest.episodes == len(snapshot.read(store(), snapshot_id))
    assert sum(manifest.quarantined.values()) == len(quarantine)


def assert_pages_are_safe(run: Run) -> None:
    """A browser that shows a page about the data runs nothing of it."""
    docs = store().path(FOLDER, run.name, DOCS)
    texts = [path.read_text(encoding="utf-8") for path in docs.iterdir()] if run.name and docs.exists() else []
    if snapshot_id := run.returned.get("prepare_snapshot"):
        page = pages.quarantine(store(), snapshot_id)
        raw = snapshot.read_quarantine(store(), snapshot_id, columns=["raw"])["raw"].to_pylist()
        assert any(HOSTILE in text for text in raw) == (HOSTILE in page), "what is hostile is shown, as text"
        texts += [pages.latest_runs(store()), page]
    for text in texts:
        for node in LexborHTMLParser(text).css("*") if HOSTILE in text else []:
            assert node.tag != "script" or HOSTILE not in node.text()
            assert not any(name.startswith("on") and HOSTILE in str(value) for name, value in node.attributes.items())


def test_the_page_for_people_has_the_same_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert tables() in page, "write the table anew: python -m tests.operators.bad_data.table"
    assert page.count("\n## ") == len(SECTIONS) + 1, "no other table beside it"


def test_the_table_has_thirty_kinds_and_each_once() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 30
