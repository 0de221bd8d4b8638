"""Preparing a dataset: every row is kept or in quarantine with its reason, and the kept ones are whole."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads
from typing import Any

import pyarrow as pa
import pytest

from include.episodes import csv_reader, runs, snapshot
from include.episodes import prepare as prepare_module
from include.episodes.columns import COLUMNS
from include.episodes.difference import difference
from include.episodes.prepare import prepare
from include.episodes.raw import batches
from include.episodes.schema import EPISODES, QUARANTINE, content_hash
from include.episodes.sources.files import DatasetError, fingerprint
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import InMemory, load, prepare_in_memory, write_snapshot
from tests.include.episodes.conftest import Rows, WriteDataset, episode, show

OPTIONS: dict[str, Any] = {"shards": 1, "threads": 0, "max_file_bytes": 2**30}


def run(folder: Path) -> InMemory:
    prepared = prepare_in_memory(folder)
    assert_accounted_for(prepared)
    return prepared


def assert_accounted_for(prepared: InMemory) -> None:
    """Every row read is kept or in quarantine, never both and never neither."""
    counts = prepared.counts
    files = prepared.quarantine["file"].to_pylist()
    for file in COLUMNS:
        assert counts[f"{file}_quarantined"] == files.count(file)
        assert counts[f"{file}_read"] == counts[f"{file}_kept"] + counts[f"{file}_quarantined"]
    assert counts["episodes_kept"] == len(prepared.episodes)
    assert sum(prepared.quarantined.values()) == len(prepared.quarantine)
    assert prepared.episodes.schema == EPISODES
    assert prepared.quarantine.schema == QUARANTINE
    prepared.episodes.validate(full=True)
    for field in EPISODES:
        assert field.nullable or prepared.episodes[field.name].null_count == 0
        if field.type == pa.string():
            assert "" not in prepared.episodes[field.name].to_pylist()


def reasons(prepared: InMemory) -> list[tuple[str, int, str | None, str]]:
    return [(row["file"], row["row"], row["key"], row["reason"]) for row in prepared.quarantine.to_pylist()]


def test_a_good_episode_is_joined_with_its_show(write_dataset: WriteDataset) -> None:
    folder = write_dataset(
        shows=[show("s1", title=" The  Show ", description="<p>About &amp; all</p>")],
        episodes=[episode("e1", title="One &amp; <b>two</b>", description="<p>A</p><p>B</p>")],
    )
    prepared = run(folder)
    text = "One & two. A B. The Show. About & all."
    assert prepared.episodes.to_pylist() == [
        {
            "episode_id": "e1",
            "podcast_id": "s1",
            "title": "One & two",
            "description": "A B",
            "show_title": "The Show",
            "show_description": "About & all",
            "language": "English",
            "categories": "Arts",
            "published_at": datetime(2017, 12, 1, 5, tzinfo=UTC),
            "duration_seconds": 60,
            "audio_url": "https://example.org/e1.mp3",
            "text": text,
            "content_hash": content_hash(text),
        }
    ]
    assert len(prepared.quarantine) == 0


@pytest.mark.parametrize("description", ["", " \n", '<p>&nbsp;</p><img src="x">'])
def test_an_episode_without_description_is_found_by_its_title(write_dataset: WriteDataset, description: str) -> None:
    prepared = run(write_dataset(episodes=[episode(title="One", description=description), episode("e2")]))
    row = prepared.episodes.to_pylist()[0]
    assert (row["description"], row["text"]) == (None, "One. Show s1. About s1.")
    assert prepared.counts["without_description"] == 1
    assert prepared.counts["episodes_kept"] == 2


@pytest.mark.parametrize(
    ("rows", "rejected"),
    [
        ([episode(uuid="  ")], [(1, None, "missing_id")]),
        ([episode(title="")], [(1, "e1", "missing_title")]),
        ([episode(title=" <b> </b>\u200b")], [(1, "e1", "missing_title")]),
        ([episode(uuid="e 1")], [(1, "e 1", "bad_id")]),
        ([episode(uuid="é1")], [(1, "é1", "bad_id")]),
        ([episode(podcast_uuid="s9")], [(1, "e1", "orphan")]),
        ([episode("an id"), episode("x" * 512)], [(1, "an id", "bad_id")]),
        ([episode("é")], [(1, "é", "bad_id")]),
        ([episode("x" * 513)], [(1, "x" * 100, "bad_id")]),
        ([episode(podcast_uuid="")], [(1, "e1", "orphan")]),
        ([episode(podcast_uuid="s2")], [(1, "e1", "show_without_title")]),
        ([episode(), episode()], [(2, "e1", "duplicate_id")]),
        ([episode(), episode("e2"), episode(title="Other")], [(3, "e1", "duplicate_id")]),
        ([episode(title=""), episode()], [(1, "e1", "missing_title")]),
    ],
)
def test_an_episode_that_cannot_be_used_is_quarantined(
    write_dataset: WriteDataset, rows: Rows, rejected: list[tuple[int, str | None, str]]
) -> None:
    prepared = run(write_dataset(shows=[show("s1"), show("s2", title=" ")], episodes=rows))
    assert [row for row in reasons(prepared) if row[0] == "episodes"] == [("episodes", *row) for row in rejected]
    assert prepared.counts["episodes_kept"] == len(rows) - len(rejected)


def test_shows_that_cannot_be_used_are_quarantined(write_dataset: WriteDataset) -> None:
    shows = [show("s1"), show(""), show("s2", title=""), show("s1"), show("s1", title="Other")]
    prepared = run(write_dataset(shows=shows))
    assert reasons(prepared) == [
        ("podcasts", 2, None, "missing_id"),
        ("podcasts", 3, "s2", "missing_title"),
        ("podcasts", 4, "s1", "duplicate_id"),
        ("podcasts", 5, "s1", "duplicate_id"),
    ]
    assert prepared.quarantine["detail"].to_pylist()[2:] == [
        "identical to the row that is kept",
        "differs from the row that is kept",
    ]
    assert prepared.episodes["show_title"].to_pylist() == ["Show s1"]


def test_a_show_that_is_untitled_in_one_row_and_titled_in_another_is_kept(write_dataset: WriteDataset) -> None:
    assert run(write_dataset(shows=[show(title=""), show()])).counts["episodes_kept"] == 1


def test_the_raw_row_is_kept_and_short(write_dataset: WriteDataset) -> None:
    prepared = run(write_dataset(episodes=[episode(title="", description='a "b"\n' * 1000)]))
    raw = prepared.quarantine["raw"].to_pylist()[0]
    assert raw.startswith('e1,,https://example.org/e1.mp3,60,2017-12-01 05:00:00+00,"a ""b""\n')
    assert len(raw) == 2000


def test_broken_rows_of_both_files_are_quarantined(write_dataset: WriteDataset) -> None:
    folder = write_dataset()
    for name in COLUMNS:
        with (folder / f"{name}.csv").open("ab") as file:
            file.write(b"x,y\n" + "é".encode("latin-1") + b"," * (len(COLUMNS[name]) - 1) + b"\n" + b'z,"open')
    prepared = run(folder)
    broken = [(2, "malformed_row"), (3, "bad_encoding"), (4, "malformed_row")]
    assert reasons(prepared) == [(name, number, None, reason) for name in COLUMNS for number, reason in broken]
    assert prepared.counts["episodes_kept"] == 1


def test_what_is_missing_but_not_needed_is_counted(write_dataset: WriteDataset) -> None:
    folder = write_dataset(
        shows=[show("s1", description=" ", language="", categories=" ")],
        episodes=[
            episode("e1", pub_date=" ", audio="", audio_length=""),
            episode("e2", audio_length="-5"),
            episode("e3", audio_length="half an hour", pub_date="yesterday"),
            episode("e4", audio_length="60.0", description="word " * 5_000),
        ],
    )
    prepared = run(folder)
    first = prepared.episodes.to_pylist()[0]
    assert [key for key, value in first.items() if value is None] == [
        "show_description",
        "language",
        "categories",
        "published_at",
        "duration_seconds",
        "audio_url",
    ]
    assert prepared.episodes["duration_seconds"].to_pylist() == [None, None, None, 60]
    counts = prepared.counts
    assert counts["shows_without_description"] == 1
    assert counts["episodes_without_show_description"] == 4
    assert counts["empty_date"] == 1
    assert counts["bad_date"] == 1
    assert counts["bad_audio_length"] == 2
    assert counts["description_cut"] == 1


def test_a_field_of_5_mb_is_cut_and_counted(write_dataset: WriteDataset) -> None:
    prepared = run(write_dataset(episodes=[episode(description="word " * 1_000_000)]))
    assert prepared.counts["description_cut"] == 1
    assert len(prepared.episodes["description"][0].as_py()) <= 20_000


def test_descriptions_that_were_html_are_counted_of_what_is_kept(write_dataset: WriteDataset) -> None:
    html = "<p>One</p>"
    rows = [episode("e1", description=html), episode("e1", description=html), episode("e2", title="", description=html)]
    prepared = run(write_dataset(episodes=[*rows, episode("e3", description="Two & <3"), episode("e4")]))
    assert prepared.counts["description_in_html"] == 2


def test_an_episode_keeps_its_hash_while_others_come_and_go(write_dataset: WriteDataset) -> None:
    some = [episode(f"e{n}", description=f"<p>Text {n}</p>") for n in range(5)]
    few = run(write_dataset(episodes=some[2:3])).episodes.to_pylist()[0]
    many = run(write_dataset(episodes=some[::-1], folder="more")).episodes.to_pylist()
    assert few in many


def test_nothing_that_can_be_used_is_not_an_error(write_dataset: WriteDataset) -> None:
    prepared = run(write_dataset(episodes=[episode(title="")]))
    assert len(prepared.episodes) == 0


def test_progress_is_logged(write_dataset: WriteDataset, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run(write_dataset())
    assert "1 episodes, kept 1" in caplog.text


@pytest.fixture
def messy(write_dataset: WriteDataset) -> Path:
    """Some hundred rows with everything that can be wrong with one, in files that are read in many small blocks."""
    shows = [show(f"s{n}", title="" if n % 9 == 0 else f"Show {n}", description="x" * (n % 2)) for n in range(40)]
    episodes = [
        episode(
            f"e{n % 180:03d}",
            title=f"<b>Episode</b> {n % 180}" if n % 17 else "",
            description=f"<p>Text {n % 190}</p>\n<p>more, and more</p>" if n % 13 else " ",
            podcast_uuid=f"s{n % 44}",
            pub_date="soon" if n % 29 == 0 else "2017-12-01 05:00:00+00" if n % 5 else "",
            audio_length="60" if n % 7 else "long",
        )
        for n in range(260)
    ]
    folder = write_dataset(shows=[*shows, *shows[:3]], episodes=episodes)
    with (folder / "episodes.csv").open("ab") as file:
        file.write(b'e900,"open\ntwo,fields\n' + b"\xe9,a,,,,b,s1\n" + b"e 901,t,,,,d,s1\ne902,t,,,,d,s1\n")
    return folder


@pytest.mark.parametrize("shards", [1, 3])
def test_the_outcome_is_the_same_for_any_number_of_threads(
    messy: Path, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    outcomes = []
    for threads, block, run_bytes in ((1, 2**18, 2**25), (1, 256, 2**10), (2, 256, 2**10)):
        monkeypatch.setattr(csv_reader, "BLOCK_BYTES", block)
        monkeypatch.setattr(runs, "RUN_BYTES", run_bytes)
        with prepare(messy, **OPTIONS | {"shards": shards, "threads": threads}, work=messy / "work") as prepared:
            loaded = load(prepared)
            assert_accounted_for(loaded)
            rows = sorted(loaded.quarantine.to_pylist(), key=lambda row: (row["file"], row["row"]))
            parts = [(part.shard, part.rows, part.shows, part.sha256) for part in prepared.parts]
            outcomes.append((parts, prepared.counts, prepared.quarantined, rows))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert len(outcomes[0][0]) == shards
    assert len(outcomes[0][2]) == 7


def test_the_work_folder_is_emptied_first_and_removed_last(write_dataset: WriteDataset, tmp_path: Path) -> None:
    """What a killed run has left is in nobody's way, and a finished one leaves nothing."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "part-0000.parquet").write_text("left over")
    with prepare(write_dataset(), **OPTIONS, work=work) as prepared:
        assert sorted(path.name for path in work.iterdir()) == ["part-0000.parquet", "quarantine.parquet"]
        assert len(load(prepared).episodes) == 1
    assert not work.exists()


def test_a_failure_leaves_nothing_behind(write_dataset: WriteDataset, tmp_path: Path) -> None:
    folder = write_dataset()
    (folder / "episodes.csv").write_text("no,such,columns\n1,2,3\n")
    with pytest.raises(DatasetError, match="no column"), prepare(folder, **OPTIONS, work=tmp_path / "work"):
        pass
    assert not (tmp_path / "work").exists()


def test_a_failure_of_a_thread_is_told_and_ends_the_others(
    write_dataset: WriteDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, stopped: Event, **options: object) -> None:
        if not stopped.wait(0.2):
            raise OSError("no space left")
        ended.append(True)

    ended: list[bool] = []
    monkeypatch.setattr(prepare_module, "make_part", broken)
    options = OPTIONS | {"threads": 1, "shards": 3}
    with pytest.raises(OSError, match="no space left"), prepare(write_dataset(), **options, work=tmp_path / "work"):
        pass
    assert len(ended) <= 1
    assert not (tmp_path / "work").exists()
    assert not [thread for thread in enumerate_threads() if thread.name.startswith("prepare")]


def rows_of(folder: Path) -> list[tuple[str, ...]]:
    tables = [batch.table for batch in batches(folder, "episodes", max_file_bytes=2**30)]
    return list(zip(*pa.concat_tables(tables).to_pydict().values(), strict=True))


@pytest.mark.dataset
def test_two_versions_of_a_real_catalogue_differ_as_documented(tmp_path: Path) -> None:
    """1,231 new, 200 edited and 100 withdrawn, but for the rows that preparation puts aside."""
    root = os.environ.get("PODSEARCH_TEST_DATASETS")
    if not root:
        pytest.skip("PODSEARCH_TEST_DATASETS is not set")
    folders = [Path(root) / "version-1", Path(root) / "version-2"]
    store = ArtifactStore(tmp_path)
    versions = [run(folder) for folder in folders]
    manifests = [
        write_snapshot(
            store,
            prepared.episodes,
            source_version=fingerprint(folder),
            shards=4,
            counts=prepared.counts,
            quarantined=prepared.quarantined,
            quarantine=prepared.quarantine,
        )
        for folder, prepared in zip(folders, versions, strict=True)
    ]
    found = difference(store, manifests[0].snapshot_id, manifests[1].snapshot_id)

    raw = [{row[0]: row for row in rows_of(folder)} for folder in folders]
    new, withdrawn = raw[1].keys() - raw[0].keys(), raw[0].keys() - raw[1].keys()
    edited = {uuid for uuid in raw[0].keys() & raw[1].keys() if raw[0][uuid] != raw[1][uuid]}
    assert (len(new), len(edited), len(withdrawn)) == (1231, 200, 100)

    kept = [{row["episode_id"]: row for row in prepared.episodes.to_pylist()} for prepared in versions]
    dropped = [set(prepared.quarantine["key"].to_pylist()) for prepared in versions]
    assert [ids.keys() | out for ids, out in zip(kept, dropped, strict=True)] == [rows.keys() for rows in raw]
    # An edit can also make an episode usable, or leave nothing of it; and an edit of markup alone changes no record.
    assert set(found.added) == (new | edited) - dropped[1] - kept[0].keys()
    assert set(found.removed) == (withdrawn | edited) - dropped[0] - kept[1].keys()
    both = kept[0].keys() & kept[1].keys()
    record = [{uuid: [rows[uuid][name] for name in snapshot.INDEXED] for uuid in both} for rows in kept]
    assert set(found.changed) == {uuid for uuid in edited & both if record[0][uuid] != record[1][uuid]}
    assert found.unchanged == len(both) - len(found.changed)
