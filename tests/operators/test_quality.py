from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.episodes import snapshot
from include.episodes.prepare import prepare
from include.episodes.raw import COLUMNS
from include.errors import PermanentError
from include.quality.result import QualityError
from include.settings import get_settings
from include.storage import ArtifactStore
from operators.quality import ValidateEpisodesOperator, ValidateRawOperator

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
    return ArtifactStore(get_settings().artifacts_root)


def write_snapshot(folder: Path) -> str:
    settings = get_settings()
    prepared = prepare(folder, max_file_bytes=settings.max_file_bytes, max_text_chars=settings.max_text_chars)
    return snapshot.write(
        store(),
        prepared.episodes,
        source_version="v1",
        shards=2,
        counts=prepared.counts,
        quarantined=prepared.quarantined,
        quarantine=prepared.quarantine,
    ).snapshot_id


def validate_raw(file: Any) -> dict[str, Any]:
    return ValidateRawOperator(task_id="validate", file=file, run_name="run").execute({})


def validate_episodes(snapshot_id: str) -> dict[str, Any]:
    return ValidateEpisodesOperator(task_id="validate", snapshot_id=snapshot_id, run_name="run").execute({})


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
    [(ValidateRawOperator, {"run_name"}), (ValidateEpisodesOperator, {"snapshot_id", "run_name"})],
)
def test_what_differs_between_runs_can_be_templated(operator: type, fields: set[str]) -> None:
    assert set(operator.template_fields) == fields  # type: ignore[attr-defined]
