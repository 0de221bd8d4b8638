from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.episodes import snapshot
from include.episodes.columns import COLUMNS
from include.episodes.ingest import make_snapshot
from include.errors import PermanentError
from include.quality import profile
from include.quality.result import QualityError
from include.settings import get_settings
from include.storage import ArtifactStore
from operators.base import PodsearchOperator
from operators.quality import ValidateDriftOperator, ValidateEpisodesOperator, ValidateRawOperator

Rows = list[dict[str, Any]]


def podcasts(count: int = 5) -> Rows:
    return [
        {"uuid": f"p{n}", "title": f"Show {n}", "description": "A show", "language": "English"} for n in range(count)
    ]


def episodes(count: int = 50) -> Rows:
    return [
        {
            "uuid": f"e{n}",
            "title": f"Episode {n}",
            "audio_length": "60",
            "pub_date": "2017-12-01 05:00:00+00",
            "description": f"Today we talk about the number {n}",
            "podcast_uuid": f"p{n % 5}",
        }
        for n in range(count)
    ]


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty dataset folder that the settings point to."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    monkeypatch.setenv("PODSEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PODSEARCH_DATASET_DIR", str(folder))
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


def write(folder: Path, name: str, rows: Rows) -> None:
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS[name])
        writer.writeheader()
        writer.writerows(rows)


def store() -> ArtifactStore:
    return ArtifactStore(get_settings().installation.artifacts_root)


def write_snapshot(folder: Path, version: str = "v1") -> str:
    settings = get_settings()
    return make_snapshot(
        store(),
        folder,
        source_version=version,
        unchanged=lambda: None,
        work_root=settings.installation.work_root,
        shards=2,
        threads=1,
        max_file_bytes=settings.episodes.max_file_bytes,
    ).snapshot_id


def validate_raw(file: Any, **params: Any) -> dict[str, Any]:
    folder = str(get_settings().episodes.required_dataset_dir)
    operator = ValidateRawOperator(task_id="validate", folder=folder, file=file, run_name="run")
    return operator.execute({"params": params})


def validate_episodes(snapshot_id: str, **params: Any) -> dict[str, Any]:
    operator = ValidateEpisodesOperator(task_id="validate", snapshot_id=snapshot_id, run_name="run")
    return operator.execute({"params": params})


def validate_drift(snapshot_id: str, **params: Any) -> dict[str, Any]:
    operator = ValidateDriftOperator(task_id="validate", snapshot_id=snapshot_id, run_name="run")
    return operator.execute({"params": params})


def test_the_three_checks_of_a_run_pass_and_share_their_data_docs(dataset: Path) -> None:
    write(dataset, "podcasts", podcasts())
    write(dataset, "episodes", episodes())

    results = [validate_raw("podcasts"), validate_raw("episodes"), validate_episodes(write_snapshot(dataset))]

    assert [result["suite"] for result in results] == ["raw_podcasts", "raw_episodes", "episodes"]
    for result in results:
        assert result == {
            "suite": result["suite"],
            "success": True,
            "critical": 0,
            "warnings": 0,
            "docs": f"quality/run/data_docs/{result['suite']}.html",
        }
        assert store().exists(result["docs"])
    index = store().read_bytes("quality", "run", "data_docs", "index.html").decode()
    assert all(f"{result['suite']}.html" in index for result in results)


def test_a_warning_is_logged_and_lets_the_run_go_on(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(dataset, "podcasts", podcasts())
    write(dataset, "episodes", [*episodes(), *episodes(1)])

    result = validate_raw("episodes")

    assert result["success"]
    assert result["warnings"] == 1
    assert "No two episodes share an id: observed 2 of 51 values fail" in capsys.readouterr().out


def test_a_critical_failure_ends_the_task_without_a_retry_and_says_where_to_look(dataset: Path) -> None:
    write(dataset, "podcasts", podcasts())
    write(dataset, "episodes", [row | {"podcast_uuid": "gone"} for row in episodes()])

    with pytest.raises(QualityError, match=r"The show of an episode is in podcasts.csv") as raised:
        validate_raw("episodes")

    assert isinstance(raised.value, PermanentError), "the error that the DAGs' retry policy fails on"
    assert "quality/run/data_docs/raw_episodes.html" in str(raised.value)
    assert store().exists("quality", "run", "data_docs", "raw_episodes.html"), "the docs are there when it has failed"


def test_a_file_that_cannot_be_read_ends_the_task_without_a_retry(dataset: Path) -> None:
    with pytest.raises(PermanentError, match="PODSEARCH_DATASET_DIR"):
        validate_raw("podcasts")


def test_rows_that_cannot_be_parsed_count_against_the_file(dataset: Path) -> None:
    write(dataset, "podcasts", podcasts())
    with (dataset / "podcasts.csv").open("a") as file:
        file.write("one,two\n" * 5)

    with pytest.raises(QualityError, match=r"10 rows read are unreadable \(5 are: 50.0%\)"):
        validate_raw("podcasts")


def test_each_file_is_held_against_the_last_snapshot(dataset: Path) -> None:
    write(dataset, "podcasts", podcasts())
    write(dataset, "episodes", episodes())
    snapshot.publish(store(), write_snapshot(dataset))
    write(dataset, "podcasts", podcasts()[:2])
    write(dataset, "episodes", episodes(10))

    shrunk = write_snapshot(dataset)

    with pytest.raises(QualityError, match="At most 20% fewer episodes than the 50 of the last snapshot"):
        validate_raw("episodes")
    with pytest.raises(QualityError, match="At most 20% fewer episodes than the 50 of the last snapshot"):
        validate_episodes(shrunk)
    with pytest.raises(QualityError, match="At most 20% fewer shows than the 5 of the last snapshot"):
        validate_raw("podcasts")


def test_a_quarantine_larger_than_allowed_stops_the_snapshot(dataset: Path) -> None:
    write(dataset, "podcasts", podcasts())
    write(dataset, "episodes", [*episodes(30), *(row | {"title": ""} for row in episodes(50)[30:])])

    with pytest.raises(QualityError, match=r"At most 35% of the 50 rows read are in quarantine \(20 are: 40.0%\)"):
        validate_episodes(write_snapshot(dataset))


@pytest.mark.parametrize(
    ("operator", "fields"),
    [
        (ValidateRawOperator, {"folder", "run_name"}),
        (ValidateEpisodesOperator, {"snapshot_id", "run_name"}),
        (ValidateDriftOperator, {"snapshot_id", "run_name"}),
    ],
)
def test_what_differs_between_runs_can_be_templated(operator: type[PodsearchOperator], fields: set[str]) -> None:
    assert set(operator.template_fields) == fields


@pytest.fixture
def changed(dataset: Path) -> str:
    """A snapshot after a published one, of which it has the episodes, in another language."""
    write(dataset, "podcasts", podcasts())
    write(dataset, "episodes", episodes(200))
    first = write_snapshot(dataset)
    validate_drift(first)
    snapshot.publish(store(), first)
    write(dataset, "podcasts", [row | {"language": "Klingon"} for row in podcasts()])
    return write_snapshot(dataset, "v2")


def trend_page() -> str:
    return store().read_bytes("quality", "run", "data_docs", "trend.html").decode()


def test_the_first_snapshot_drifts_from_nothing(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "include")
    write(dataset, "podcasts", podcasts())
    write(dataset, "episodes", episodes())

    result = validate_drift(write_snapshot(dataset))

    assert (result["suite"], result["success"], result["warnings"]) == ("drift", True, 0)
    assert "No snapshot had been published before" in caplog.text


def test_drift_stops_the_run_and_is_no_history_until_it_is_published(changed: str) -> None:
    for _ in range(2):
        with pytest.raises(
            QualityError, match=r"Share of English episodes, no collapse: observed 0 %; expected at least"
        ):
            validate_drift(changed)

    assert changed in trend_page(), "what has drifted is drawn"
    index = store().read_bytes("quality", "run", "data_docs", "index.html").decode()
    assert 'href="trend.html"' in index
    assert [one.source_version for one in profile.history(store(), window=9)] == ["v1"]


def test_a_person_can_accept_drift_and_later_snapshots_are_held_against_the_new_catalogue(
    dataset: Path, changed: str
) -> None:
    assert validate_drift(changed, accept_drift=True)["success"]
    snapshot.publish(store(), changed)
    write(dataset, "episodes", episodes(210))

    later = write_snapshot(dataset, "v3")

    assert validate_drift(later) | {"docs": ""} == {
        **{"suite": "drift", "success": True, "critical": 0, "warnings": 0},
        "docs": "",
    }
    assert [one.source_version for one in profile.history(store(), window=9)] == ["v2"]


def test_whoever_accepts_drift_accepts_a_smaller_catalogue_in_every_check(dataset: Path) -> None:
    write(dataset, "podcasts", podcasts())
    write(dataset, "episodes", episodes())
    snapshot.publish(store(), write_snapshot(dataset))
    write(dataset, "podcasts", podcasts()[:2])
    write(dataset, "episodes", [row for row in episodes() if row["podcast_uuid"] in ("p0", "p1")])
    shrunk = write_snapshot(dataset)

    with pytest.raises(QualityError):
        validate_episodes(shrunk)

    assert validate_raw("podcasts", accept_drift=True)["success"]
    assert validate_raw("episodes", accept_drift=True)["success"]
    assert validate_episodes(shrunk, accept_drift=True)["success"]
    assert validate_drift(shrunk, accept_drift=True)["success"]


def test_the_checks_hold_what_the_settings_say(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(dataset, "podcasts", podcasts())
    write(dataset, "episodes", episodes(400))
    first = write_snapshot(dataset)
    validate_drift(first)
    snapshot.publish(store(), first)
    write(dataset, "episodes", episodes(200))
    shrunk = write_snapshot(dataset, "v2")
    with pytest.raises(QualityError, match="Number of episodes"):
        validate_drift(shrunk)

    monkeypatch.setenv("PODSEARCH_MAX_SHRINK", "0.6")
    get_settings.cache_clear()
    assert validate_drift(shrunk)["critical"] == 0
