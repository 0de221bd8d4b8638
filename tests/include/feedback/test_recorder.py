"""Recording loses nothing that it need not, keeps search from no harm, and writes over nobody."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.feedback.events import MAX_SECONDS, compact, days, folder, new_session, read_day, remove_old
from include.feedback.figures import figures
from include.feedback.pairs import recorded_pairs
from include.feedback.recorder import Recorder
from include.storage import ArtifactStore
from tests.include.feedback.listening import MONDAY, Listening


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def broken(store: ArtifactStore) -> Path:
    """A file stands where the records should lie."""
    there = store.local_root
    assert there is not None
    there.mkdir(parents=True, exist_ok=True)
    (there / "feedback").write_text("")
    return there / "feedback"


def recorded(store: ArtifactStore) -> int:
    return sum(len(read_day(store, day)) for day in days(store))


def test_what_was_done_is_read_as_it_was_recorded(store: ArtifactStore) -> None:
    listening = Listening(store)
    search = listening.search("a rocket", ["e7", "e8"], first=11)
    listening.open(search, "e8")
    listening.play(search, "e8", 10**9)
    listening.write()
    assert days(store) == [MONDAY.date()]
    searched, opened, played = read_day(store, MONDAY.date()).to_pylist()
    assert searched["query"] == "a rocket"
    assert (searched["shown"], searched["first"], searched["found"]) == (["e7", "e8"], 11, 12)
    assert (opened["kind"], opened["episode"]) == ("opened", "e8")
    assert (played["kind"], played["seconds"]) == ("played", MAX_SECONDS)
    assert searched["session"] == opened["session"] == played["session"]


def test_nobody_is_followed_from_one_day_to_the_next(store: ArtifactStore) -> None:
    """Also a program's listener whose session never changes; and what is kept is no cookie that anybody could send."""
    listening = Listening(store)
    listening.search("a rocket")
    listening.at += timedelta(days=1)
    listening.search("a rocket")
    listening.write()
    one, other = (read_day(store, day)["session"][0].as_py() for day in days(store))
    assert one != other
    assert listening.session not in (one, other)


def test_what_looks_personal_is_not_kept(store: ArtifactStore) -> None:
    recorder = Recorder(store, 30)
    assert recorder.searched(new_session(), "mail jane@example.org", ["e1"], found=1, model="m") is None
    recorder.flush()
    assert days(store) == []


def test_a_play_after_midnight_is_kept_with_its_search(store: ArtifactStore) -> None:
    listening = Listening(store, at=datetime(2026, 11, 2, 23, 59, 40, tzinfo=UTC))
    search = listening.search("a rocket", after=0)
    listening.at += timedelta(minutes=5)
    listening.play(search, "e1")
    listening.write()
    assert days(store) == [MONDAY.date()]
    assert len(set(read_day(store, MONDAY.date())["session"].to_pylist())) == 1


@pytest.mark.parametrize(
    "search", ["", "x", "20261102-short", "20261399-" + 22 * "a", "20261031-" + 22 * "a", "20261104-" + 22 * "a"]
)
def test_what_can_belong_to_no_search_is_not_kept(store: ArtifactStore, search: str) -> None:
    """Whoever sends it could otherwise write into any day, and wherever it likes."""
    listening = Listening(store)
    assert not listening.recorder.opened(listening.session, search, "e1")
    assert not listening.recorder.played(listening.session, search, "e1", 10)
    listening.write()
    assert days(store) == []


def test_half_a_sign_keeps_nothing_from_being_written(store: ArtifactStore) -> None:
    listening = Listening(store)
    listening.search("rocket \ud83d")
    listening.search("moon")
    listening.write()
    assert read_day(store, MONDAY.date())["query"].to_pylist() == ["rocket ?", "moon"]


def test_recorders_beside_each_other_write_over_nobody(store: ArtifactStore) -> None:
    """As many processes do, at the same moment."""
    several = [Listening(store) for _ in range(8)]
    for number, one in enumerate(several):
        one.search(f"query {number}")
    threads = [threading.Thread(target=one.write) for one in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.names(*folder(MONDAY.date()))) == 8
    assert sorted(read_day(store, MONDAY.date())["query"].to_pylist()) == [f"query {number}" for number in range(8)]


def test_it_is_written_after_a_while_when_there_is_much_and_at_the_end(store: ArtifactStore) -> None:
    recorder = Recorder(store, 30, every=3_600, rows=3)
    recorder.begin()

    def search() -> None:
        recorder.searched(new_session(), "rocket", ["e1"], found=1, model="m")

    search()
    search()
    assert recorded(store) == 0
    search()
    deadline = time.monotonic() + 10
    while not recorded(store) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert recorded(store) == 3
    search()
    recorder.close()
    assert recorded(store) == 4


def test_what_cannot_be_written_is_tried_again_and_lost_only_beyond_a_bound(
    store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    """And said once in a while, without what was looked for."""
    caplog.set_level(logging.DEBUG)
    file = broken(store)
    recorder = Recorder(store, 30, most=5)
    for number in range(7):
        recorder.searched(new_session(), f"secret wish {number}", ["e1"], found=1, model="m")
        recorder.flush()
    assert recorder.lost == 2
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text
    file.unlink()
    recorder.flush()
    assert recorded(store) == 5


def test_what_is_lost_in_the_end_is_said(store: ArtifactStore, caplog: pytest.LogCaptureFixture) -> None:
    broken(store)
    recorder = Recorder(store, 30, every=3_600)
    recorder.begin()
    recorder.searched(new_session(), "rocket", ["e1"], found=1, model="m")
    recorder.close()
    assert "1 records of searches and plays were lost" in caplog.text


def test_files_are_put_together_and_nothing_is_lost_whenever_it_is_killed(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there twice then counts once."""
    listening = Listening(store)
    for number in range(5):
        search = listening.search(f"query {number}")
        listening.open(search, "e2")
        listening.play(search, "e3", 60)
        listening.write()
    day = MONDAY.date()
    before, counted = read_day(store, day), figures(day, read_day(store, day))
    compact(store, day, more_than=5)
    assert len(store.names(*folder(day))) == 5

    with monkeypatch.context() as killed:
        killed.setattr(store, "remove", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            compact(store, day, more_than=1)
    assert len(read_day(store, day)) == 2 * len(before)
    assert figures(day, read_day(store, day)) == counted
    assert recorded_pairs(store).training[0].weight == 1

    compact(store, day, more_than=1)
    assert len(store.names(*folder(day))) == 1
    assert figures(day, read_day(store, day)) == counted


def raise_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_day_can_be_read_while_its_files_are_put_together(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening = Listening(store)
    for number in range(3):
        listening.search(f"query {number}")
        listening.write()
    listed = store.names

    def names(*parts: str) -> list[str]:
        found = listed(*parts)
        monkeypatch.setattr(store, "names", listed)
        compact(store, MONDAY.date(), more_than=1)
        return found

    monkeypatch.setattr(store, "names", names)
    assert len(read_day(store, MONDAY.date())) == 3


def test_it_works_on_an_object_store() -> None:
    store = ArtifactStore("memory://feedback-recorder")
    listening = Listening(store)
    listening.search("rocket")
    listening.somebody_else(days=1)
    listening.search("moon")
    listening.write()
    assert len(days(store)) == 2
    listening.search("moon")
    listening.write()
    compact(store, listening.at.date(), more_than=1)
    assert len(store.names(*folder(listening.at.date()))) == 1
    assert len(read_day(store, listening.at.date())) == 2
    assert remove_old(store, 1, now=listening.at) == [MONDAY.date()]
    assert days(store) == [listening.at.date()]


@pytest.mark.parametrize(("keep", "left"), [(0, []), (1, [3]), (2, [2, 3]), (30, [0, 1, 2, 3])])
def test_days_that_are_too_old_are_removed_and_no_others(store: ArtifactStore, keep: int, left: list[int]) -> None:
    listening = Listening(store)
    for days_later in (0, 1, 1, 1):
        listening.somebody_else(days=days_later)
        listening.search("rocket")
    listening.write()
    remove_old(store, keep, now=listening.at)
    assert days(store) == [(MONDAY + timedelta(days=day)).date() for day in left]
