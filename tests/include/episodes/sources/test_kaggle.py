"""The real client against the stand-in: every way in which a download can go."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from include.episodes.sources import download
from include.episodes.sources.files import DamagedFileError, DatasetError, open_source
from include.episodes.sources.kaggle import KaggleSource
from include.episodes.sources.kaggle_api import ATTEMPTS, LONGEST_WAIT, THROTTLED_SECONDS, Credentials
from include.errors import PermanentError, RetryLaterError
from include.storage import ArtifactStore
from tests.include.episodes.sources.conftest import write_dataset
from tests.standins.kaggle import DOWNLOAD, LOOK_UP, SIGNATURE, STORAGE, Fault, KaggleStandIn

Make = Callable[..., KaggleSource]
FILES = ("podcasts.csv", "episodes.csv")


def fetched(folder: object) -> dict[str, bytes]:
    """Content of the dataset's files in a folder."""
    return {name: folder.joinpath(name).read_bytes() for name in FILES}  # type: ignore[attr-defined]


def ranges(kaggle: KaggleStandIn, file: str = "podcasts.csv") -> list[int]:
    """From which byte on the storage was asked for a file, request by request."""
    asked = [request.split() for request in kaggle.requests if request.startswith(f"{STORAGE} ")]
    return [int(words[3].removeprefix("bytes=").rstrip("-")) if words[3:] else 0 for words in asked if words[2] == file]


def test_a_version_is_fetched_as_it_is_and_only_once(
    source: KaggleSource, kaggle: KaggleStandIn, make_source: Make
) -> None:
    version = source.latest_version()
    assert kaggle.requests == [LOOK_UP], "the look-up downloads nothing"
    folder = source.fetch(version)
    assert fetched(folder) == kaggle.versions[1]
    asked = len(kaggle.requests)
    assert source.fetch(version) == make_source().fetch(version) == folder
    assert len(kaggle.requests) == asked, "what is complete is not asked for"


def test_nothing_is_left_on_the_machine_but_what_is_in_the_store(source: KaggleSource, tmp_path: Path) -> None:
    source.fetch(source.latest_version())
    assert [path for path in (tmp_path / "work").rglob("*") if path.is_file()] == []


def test_a_download_says_where_it_comes_from(source: KaggleSource, store: ArtifactStore, kaggle: KaggleStandIn) -> None:
    source.fetch(source.latest_version())
    manifest = store.read_json("downloads", "kaggle", *kaggle.dataset.split("/"), "1", "manifest.json")
    assert (manifest["dataset"], manifest["version"]) == (kaggle.dataset, 1)
    assert manifest["bytes"] == {name: len(data) for name, data in kaggle.versions[1].items()}


def test_versions_of_different_datasets_differ(make_source: Make) -> None:
    names = {make_source(dataset, pinned=pin).latest_version() for dataset in ("a/b", "a/c", "c/b") for pin in (1, 2)}
    assert len(names) == 6
    assert not any("/" in name for name in names), "they name folders"


def test_a_pinned_version_asks_nothing_and_is_what_is_fetched(
    make_source: Make, kaggle: KaggleStandIn, tmp_path: Path
) -> None:
    kaggle.add_version(write_dataset(tmp_path / "dataset", seed=2))
    source = make_source(pinned=1)
    version = source.latest_version()
    assert kaggle.requests == []
    assert fetched(source.fetch(version)) == kaggle.versions[1]


def test_a_version_published_after_the_look_up_waits_for_the_next_run(
    source: KaggleSource, kaggle: KaggleStandIn, tmp_path: Path
) -> None:
    version = source.latest_version()
    kaggle.add_version(write_dataset(tmp_path / "dataset", seed=2))
    kaggle.latest = 1
    kaggle.faults.append(Fault(DOWNLOAD, publish=2))
    assert fetched(source.fetch(version)) == kaggle.versions[1]
    assert source.latest_version() != version


@pytest.mark.parametrize("zipped", [True, False])
def test_what_was_fetched_can_be_read(make_source: Make, kaggle: KaggleStandIn, tmp_path: Path, zipped: bool) -> None:
    kaggle.add_version(tmp_path / "dataset", zipped=zipped)
    source = make_source(store=ArtifactStore(f"memory://{tmp_path.name}"))
    folder = source.fetch(source.latest_version())
    assert str(folder).startswith("memory://"), "an object store will do"
    with open_source(folder, "episodes", max_file_bytes=2**30) as stream:
        assert stream.read() == (tmp_path / "dataset" / "episodes.csv").read_bytes()


class TestBrokenConnections:
    def test_a_download_that_is_cut_goes_on_where_it_was(self, source: KaggleSource, kaggle: KaggleStandIn) -> None:
        kaggle.faults += [Fault(STORAGE, cut_at=40_000), Fault(STORAGE, cut_at=80_000)]
        assert fetched(source.fetch(source.latest_version())) == kaggle.versions[1]
        first, second, third = ranges(kaggle)
        assert first == 0
        assert 20_000 < second <= 40_000 < third <= 80_000

    def test_a_later_try_goes_on_where_an_earlier_one_was_left(self, make_source: Make, kaggle: KaggleStandIn) -> None:
        version = make_source().latest_version()
        kaggle.faults.append(Fault(STORAGE, times=2 * ATTEMPTS, cut_at=60_000))
        with pytest.raises(RetryLaterError, match="connection"):
            make_source().fetch(version)
        kaggle.faults.clear()
        asked = len(ranges(kaggle))
        assert fetched(make_source().fetch(version)) == kaggle.versions[1]
        assert ranges(kaggle)[asked] > 40_000

    def test_progress_is_not_counted_as_failure(self, source: KaggleSource, kaggle: KaggleStandIn) -> None:
        kaggle.faults += [Fault(STORAGE, cut_at=at) for at in range(17_000, 17_000 * (ATTEMPTS + 2), 17_000)]
        assert fetched(source.fetch(source.latest_version())) == kaggle.versions[1]

    def test_a_server_that_knows_no_ranges_is_asked_for_the_whole(
        self, source: KaggleSource, kaggle: KaggleStandIn
    ) -> None:
        kaggle.ranges = False
        kaggle.faults.append(Fault(STORAGE, cut_at=60_000))
        assert fetched(source.fetch(source.latest_version())) == kaggle.versions[1]

    def test_a_part_is_not_completed_with_another_file(
        self, make_source: Make, kaggle: KaggleStandIn, tmp_path: Path
    ) -> None:
        version = make_source().latest_version()
        kaggle.faults.append(Fault(STORAGE, times=2 * ATTEMPTS, cut_at=60_000))
        with pytest.raises(RetryLaterError):
            make_source().fetch(version)
        kaggle.faults.clear()
        kaggle.checksums = False
        kaggle.add_version(write_dataset(tmp_path / "dataset", seed=2))
        kaggle.versions[1] = kaggle.versions.pop(2)
        assert fetched(make_source().fetch(version)) == kaggle.versions[1]

    def test_a_download_that_stalls_is_broken_off_and_goes_on(
        self, source: KaggleSource, kaggle: KaggleStandIn
    ) -> None:
        kaggle.faults.append(Fault(STORAGE, stall_at=50_000))
        assert fetched(source.fetch(source.latest_version())) == kaggle.versions[1]
        assert 30_000 < ranges(kaggle)[1] <= 50_000

    def test_a_length_that_is_too_great_is_no_reason_to_wait_for_ever(
        self, source: KaggleSource, kaggle: KaggleStandIn
    ) -> None:
        kaggle.faults.append(Fault(STORAGE, longer=1_000))
        assert fetched(source.fetch(source.latest_version())) == kaggle.versions[1]

    @pytest.mark.parametrize("checksums", [True, False])
    def test_a_length_that_is_too_small_is_found(
        self, source: KaggleSource, kaggle: KaggleStandIn, checksums: bool
    ) -> None:
        kaggle.checksums = checksums
        kaggle.faults.append(Fault(STORAGE, longer=-1_000))
        assert fetched(source.fetch(source.latest_version())) == kaggle.versions[1]

    def test_a_damaged_note_beside_a_part_costs_no_more_than_the_part(
        self, make_source: Make, kaggle: KaggleStandIn, tmp_path: Path
    ) -> None:
        version = make_source().latest_version()
        kaggle.faults.append(Fault(STORAGE, times=2 * ATTEMPTS, cut_at=60_000))
        with pytest.raises(RetryLaterError):
            make_source().fetch(version)
        kaggle.faults.clear()
        (note,) = (tmp_path / "work").rglob("*.json")
        note.write_text("{")
        assert fetched(make_source().fetch(version)) == kaggle.versions[1]

    def test_two_processes_do_not_write_the_same_file(
        self, make_source: Make, kaggle: KaggleStandIn, tmp_path: Path
    ) -> None:
        version = make_source().latest_version()
        kaggle.faults.append(Fault(STORAGE, times=2 * ATTEMPTS, cut_at=60_000))
        with pytest.raises(RetryLaterError):
            make_source().fetch(version)
        (part,) = (tmp_path / "work").rglob("*.partial")
        with part.open("ab") as other:
            download._lock(other, part)
            with pytest.raises(RetryLaterError, match="Another process"):
                make_source().fetch(version)


class TestDamage:
    def test_a_byte_changed_on_the_way_is_found_by_the_checksum(
        self, source: KaggleSource, kaggle: KaggleStandIn
    ) -> None:
        kaggle.faults.append(Fault(STORAGE, flip=5_000))
        assert fetched(source.fetch(source.latest_version())) == kaggle.versions[1]

    def test_a_zip_is_read_to_its_end_before_it_is_taken(self, source: KaggleSource, kaggle: KaggleStandIn) -> None:
        kaggle.checksums = False
        kaggle.faults.append(Fault(STORAGE, flip=5_000))
        assert fetched(source.fetch(source.latest_version())) == kaggle.versions[1]
        assert ranges(kaggle) == [0, 0]

    def test_a_zip_that_is_damaged_at_kaggle_is_given_up_and_not_in_the_store(
        self, source: KaggleSource, kaggle: KaggleStandIn, store: ArtifactStore
    ) -> None:
        data = bytearray(kaggle.versions[1]["episodes.csv"])
        data[5_000] ^= 0xFF
        kaggle.versions[1]["episodes.csv"] = bytes(data)
        version = source.latest_version()
        with pytest.raises(DamagedFileError, match=r"episodes\.csv is a damaged or incomplete zip") as raised:
            source.fetch(version)
        assert isinstance(raised.value, PermanentError)
        assert ranges(kaggle, "episodes.csv") == [0, 0], "once more, it may have been the way"
        assert store.names() == []

    @pytest.mark.parametrize("on", [DOWNLOAD, STORAGE])
    def test_a_web_page_in_place_of_a_file_is_named(
        self, source: KaggleSource, kaggle: KaggleStandIn, store: ArtifactStore, on: str
    ) -> None:
        kaggle.faults.append(Fault(on, html=True))
        version = source.latest_version()
        with pytest.raises(DatasetError, match=r"podcasts\.csv is a web page .* rules are accepted"):
            source.fetch(version)
        assert store.names() == []

    def test_a_web_page_in_place_of_the_look_up_is_tried_again(
        self, source: KaggleSource, kaggle: KaggleStandIn
    ) -> None:
        kaggle.faults.append(Fault(LOOK_UP, html=True))
        assert source.latest_version().endswith(".v1")
        kaggle.faults.append(Fault(LOOK_UP, html=True, times=99))
        with pytest.raises(RetryLaterError, match="answered with a page"):
            source.latest_version()

    def test_a_file_larger_than_allowed_is_refused_once(self, make_source: Make, kaggle: KaggleStandIn) -> None:
        source = make_source(max_file_bytes=10_000)
        version = source.latest_version()
        with pytest.raises(DatasetError, match="PODSEARCH_MAX_FILE_BYTES"):
            source.fetch(version)
        assert fetched(make_source().fetch(version)) == kaggle.versions[1]
        assert ranges(kaggle) == [0], "what is there is not downloaded again when more is allowed"


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "message"),
        [
            (
                401,
                r"refuses the credentials \(401, “no”\).*https://www.kaggle.com/settings.*kaggle_default",
            ),
            (
                403,
                r"forbids .*episodes.* \(403, “no”\): open https://www.kaggle.com/datasets/.* accept .* rules",
            ),
            (404, r"has no .*episodes.* \(404, “no”\).*PODSEARCH_KAGGLE_DATASET with https"),
            (400, r"\(400, “no”\)"),
        ],
    )
    @pytest.mark.parametrize("on", [LOOK_UP, DOWNLOAD])
    def test_what_only_a_person_can_mend_is_said_at_once(
        self, source: KaggleSource, kaggle: KaggleStandIn, on: str, status: int, message: str
    ) -> None:
        kaggle.faults.append(Fault(on, status=status, times=99))
        with pytest.raises(PermanentError, match=message):
            source.fetch(source.latest_version())
        assert kaggle.count(on) == 1, "there is no use in asking again"

    def test_a_refusal_in_the_body_counts_too(self, source: KaggleSource, kaggle: KaggleStandIn) -> None:
        kaggle.faults.append(Fault(LOOK_UP, status=403, sent_as=200))
        with pytest.raises(PermanentError, match="forbids"):
            source.latest_version()

    def test_a_wrong_key_is_refused(self, make_source: Make) -> None:
        with pytest.raises(PermanentError, match="refuses the credentials"):
            make_source(credentials=Credentials("wrong")).latest_version()

    def test_what_is_not_there_is_named(self, make_source: Make, kaggle: KaggleStandIn) -> None:
        with pytest.raises(PermanentError, match="Kaggle has no dataset somebody/something"):
            make_source("somebody/something").latest_version()
        source = make_source(pinned=7)
        with pytest.raises(PermanentError, match=rf"has no podcasts\.csv in version 7 of {kaggle.dataset}"):
            source.fetch(source.latest_version())
        del kaggle.versions[1]["episodes.csv"]
        source = make_source()
        with pytest.raises(PermanentError, match=r"has no episodes\.csv in version 1"):
            source.fetch(source.latest_version())

    def test_a_dataset_without_a_version_is_named(self, source: KaggleSource, kaggle: KaggleStandIn) -> None:
        kaggle.latest = 0
        with pytest.raises(PermanentError, match="names no version"):
            source.latest_version()

    @pytest.mark.parametrize("version", ["../../etc", "listennotes.episodes", "listennotes.other.v1", "v1", ""])
    def test_a_version_of_something_else_is_refused(self, source: KaggleSource, version: str) -> None:
        with pytest.raises(PermanentError, match="is not a version of"):
            source.fetch(version)

    @pytest.mark.parametrize("fault", [Fault(LOOK_UP, status=401), Fault(DOWNLOAD, status=500, times=99)])
    def test_an_error_gives_no_access_away(self, source: KaggleSource, kaggle: KaggleStandIn, fault: Fault) -> None:
        fault.message = f"who is {kaggle.token}?"
        kaggle.faults += [fault, Fault(STORAGE, status=403, times=99)]
        with pytest.raises((PermanentError, RetryLaterError)) as raised:
            source.fetch(source.latest_version())
        told = "".join(traceback.format_exception(raised.value))
        assert "who is ***?" in told
        assert kaggle.token not in told

    def test_the_address_of_a_file_is_told_to_nobody(self, source: KaggleSource, kaggle: KaggleStandIn) -> None:
        """Its signature opens the file to whoever has it."""
        kaggle.faults.append(Fault(STORAGE, status=403, times=99))
        with pytest.raises(RetryLaterError, match="Kaggle's storage refused") as raised:
            source.fetch(source.latest_version())
        assert SIGNATURE not in "".join(traceback.format_exception(raised.value))


class TestBusyServers:
    @pytest.mark.parametrize("on", [LOOK_UP, DOWNLOAD, STORAGE])
    @pytest.mark.parametrize(
        ("told", "seconds"),
        [
            ("17", 17),
            (None, THROTTLED_SECONDS),
            ("0", 1),
            ("a while", THROTTLED_SECONDS),
            ("nan", THROTTLED_SECONDS),
            ("99999999", LONGEST_WAIT),
            ("Wed, 25 Nov 2015 00:00:00 GMT", 1),
        ],
    )
    def test_a_throttled_request_is_left_to_the_scheduler_for_as_long_as_told(
        self, source: KaggleSource, kaggle: KaggleStandIn, on: str, told: str | None, seconds: float
    ) -> None:
        kaggle.faults.append(Fault(on, status=429, headers={"Retry-After": told} if told else {}, times=99))
        with pytest.raises(RetryLaterError) as raised:
            source.fetch(source.latest_version())
        assert raised.value.seconds == seconds
        assert kaggle.count(on) == 1

    def test_a_date_to_come_back_at_is_understood(self, source: KaggleSource, kaggle: KaggleStandIn) -> None:
        soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
        kaggle.faults.append(Fault(LOOK_UP, status=503, headers={"Retry-After": soon}))
        with pytest.raises(RetryLaterError) as raised:
            source.latest_version()
        assert 60 < (raised.value.seconds or 0) <= 90

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    @pytest.mark.parametrize("on", [LOOK_UP, DOWNLOAD, STORAGE])
    def test_a_server_that_is_not_well_is_asked_again(
        self, source: KaggleSource, kaggle: KaggleStandIn, on: str, status: int
    ) -> None:
        kaggle.faults.append(Fault(on, status=status, times=ATTEMPTS - 1))
        assert fetched(source.fetch(source.latest_version())) == kaggle.versions[1]

    @pytest.mark.parametrize("on", [LOOK_UP, DOWNLOAD, STORAGE])
    def test_and_not_for_ever(self, source: KaggleSource, kaggle: KaggleStandIn, on: str) -> None:
        kaggle.faults.append(Fault(on, status=503, times=99))
        with pytest.raises(RetryLaterError, match="Kaggle failed") as raised:
            source.fetch(source.latest_version())
        assert raised.value.seconds is None, "the task's own delay"
        assert kaggle.count(on) == ATTEMPTS

    def test_a_server_that_is_not_there_is_tried_again_later(self, make_source: Make, kaggle: KaggleStandIn) -> None:
        kaggle.faults.append(Fault(LOOK_UP, hang_up=True, times=99))
        with pytest.raises(RetryLaterError, match=r"connection to Kaggle failed \(ConnectionError\)"):
            make_source().latest_version()
        assert kaggle.count(LOOK_UP) >= ATTEMPTS


class TestCredentials:
    def test_a_user_name_and_its_key_will_do(self, make_source: Make, kaggle: KaggleStandIn) -> None:
        source = make_source(credentials=Credentials(kaggle.key, kaggle.username))
        assert fetched(source.fetch(source.latest_version())) == kaggle.versions[1]

    def test_what_the_environment_has_is_not_used(
        self, make_source: Make, kaggle: KaggleStandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The client alone would prefer it to what it was given."""
        monkeypatch.setenv("KAGGLE_API_TOKEN", "of somebody else")
        assert make_source(credentials=Credentials(kaggle.key, kaggle.username)).latest_version().endswith(".v1")

    def test_they_are_not_shown_with_what_has_them(self, kaggle: KaggleStandIn) -> None:
        assert kaggle.key not in repr(Credentials(kaggle.key, kaggle.username))


class TestRoom:
    def test_a_disk_without_room_is_named_before_anything_is_written(
        self, source: KaggleSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        version = source.latest_version()
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=download.RESERVE_BYTES + 200_000))
        with pytest.raises(PermanentError, match=r"podcasts\.csv of .* needs 0 MiB.*disk of .*PODSEARCH_HOME"):
            source.fetch(version)
        assert sum(path.stat().st_size for path in tmp_path.joinpath("work").rglob("*.partial")) == 0

    def test_what_is_written_twice_to_a_disk_needs_twice_the_room(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=download.RESERVE_BYTES + 100))
        download.require_space([(tmp_path / "not" / "there", 50), (tmp_path, 50)], "It")
        with pytest.raises(PermanentError):
            download.require_space([(tmp_path / "not" / "there", 50), (tmp_path, 51)], "It")

    def test_the_last_two_downloads_are_kept(
        self, make_source: Make, kaggle: KaggleStandIn, store: ArtifactStore, tmp_path: Path
    ) -> None:
        there = []
        for seed in range(3):
            if seed:
                kaggle.add_version(write_dataset(tmp_path / "dataset", seed=seed))
            version = make_source().latest_version()
            make_source().fetch(version)
            make_source().published(version)
            there.append(store.names("downloads", "kaggle", *kaggle.dataset.split("/")))
        assert there == [["1"], ["1", "2"], ["2", "3"]]

    def test_going_back_to_an_old_version_keeps_it(
        self, make_source: Make, kaggle: KaggleStandIn, store: ArtifactStore, tmp_path: Path
    ) -> None:
        for seed in (2, 3):
            kaggle.add_version(write_dataset(tmp_path / "dataset", seed=seed))
        for pinned in (2, 3, 1):
            source = make_source(pinned=pinned)
            source.fetch(source.latest_version())
        source.published(source.latest_version())
        assert store.names("downloads", "kaggle", *kaggle.dataset.split("/")) == ["1", "3"]

    def test_what_is_left_of_an_older_version_goes_when_a_newer_is_fetched(
        self, make_source: Make, kaggle: KaggleStandIn, tmp_path: Path
    ) -> None:
        version = make_source().latest_version()
        kaggle.faults.append(Fault(STORAGE, times=2 * ATTEMPTS, cut_at=60_000))
        with pytest.raises(RetryLaterError):
            make_source().fetch(version)
        kaggle.faults.clear()
        kaggle.add_version(write_dataset(tmp_path / "dataset", seed=2))
        make_source().fetch(make_source().latest_version())
        assert [path for path in (tmp_path / "work").rglob("*") if path.is_file()] == []


def test_progress_is_logged_with_rate_and_time_left(
    source: KaggleSource, logs: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LOG_SECONDS", 0)
    source.fetch(source.latest_version())
    lines = [record.getMessage() for record in logs.records if record.name == download.__name__]
    assert any("podcasts.csv: 0.1 of 0.1 MiB (" in line and "MiB/s" in line and "s left" in line for line in lines)
    assert lines[-1].startswith("episodes.csv: 0.1 of 0.1 MiB (100%)")
