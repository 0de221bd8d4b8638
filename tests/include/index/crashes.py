"""Runs that are killed at each of their writes, on whatever backend: what any home must come through."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from include.episodes import snapshot
from include.index import live, write
from include.index.contract import EpisodeIndex
from include.index.lancedb import LanceIndex
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import Row, episode, publish
from tests.include.index.workshop import Fuse, Killed, MortalIndex, MortalStore, assert_settled, reindex

FIRST = [episode(number) for number in range(24)]
# Against FIRST: 2 removed, 2 texts edited, 1 record edited, 3 added.
SECOND = [
    *FIRST[2:18],
    episode(18, title="Edited"),
    episode(19, description="Edited"),
    episode(20, language="Thai"),
    *FIRST[21:],
    *(episode(number) for number in range(24, 27)),
]
# Undoes some of it, edits an episode again, removes one that the second added.
THIRD = [
    *FIRST[1:17],
    episode(17, title="New"),
    FIRST[18],
    episode(19, description="Edited again"),
    *FIRST[20:],
    episode(24),
    episode(30),
]

SHARDS = 2
BATCH = 8

STORY = ("action", "then", "rows")
"""What the killed run was to do, the snapshot that comes after it, and what is there in the end."""
MAIN_STORIES = [
    pytest.param("full", None, SECOND, id="full build"),
    pytest.param("difference", THIRD, THIRD, id="difference, then another snapshot"),
]
STORIES = [
    *MAIN_STORIES,
    pytest.param("difference", None, SECOND, id="difference"),
    pytest.param("full", THIRD, THIRD, id="full build, then another snapshot"),
    pytest.param("difference", FIRST, FIRST, id="difference, then back to the first snapshot"),
]


def make_quick(patch: pytest.MonkeyPatch) -> None:
    """Small batches, so that a run can end in the middle of a shard; some records searched for, others in each run; and
    no waiting for the disk."""
    patch.setattr(write, "UPSERT_BATCH", BATCH)
    patch.setattr(write, "GOLDEN", 4)
    patch.setattr(os, "fsync", lambda _: None)


class Home(ABC):
    """An installation that can be set back to where it was before a run."""

    def __init__(self, folder: Path, action: str) -> None:
        self.folder, self.before = folder / "home", folder / "before"
        publish(self.store(), FIRST, shards=SHARDS)
        if action == "difference":
            reindex(self.store(), self.index())
        publish(self.store(), SECOND, shards=SHARDS)
        shutil.copytree(self.folder, self.before)

    def store(self) -> ArtifactStore:
        return ArtifactStore(self.folder / "artifacts")

    @abstractmethod
    def index(self) -> EpisodeIndex:
        """The index, as another process opens it."""

    @abstractmethod
    def run(self, fuse: Fuse) -> None:
        """Re-index, until a write that the fuse does not let pass."""

    def run_beside(self, fuse: Fuse) -> None:
        """The same, where another run goes on at the same time."""
        self.run(fuse)

    def set_back(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self.before, self.folder)

    def run_until(self, moment: int) -> bool:
        """From the beginning again, until some moment; whether it came."""
        self.set_back()
        try:
            self.run(Fuse(moment))
        except Killed:
            return True
        return False


class EmbeddedHome(Home):
    """An installation with the embedded index."""

    def index(self) -> LanceIndex:
        return LanceIndex(str(self.folder / "index"))

    def run(self, fuse: Fuse) -> None:
        reindex(MortalStore(self.folder / "artifacts", fuse), MortalIndex(str(self.folder / "index"), fuse))


def assert_no_trace_of_a_killed_run(home: Home, then: list[Row] | None, rows: list[Row]) -> int:
    """Kill a run at each of its writes, and run again; how many there were."""
    first = live.read_live(home.store())
    moment, done = 0, False
    while home.run_until(moment):
        store, index = home.store(), home.index()
        assert not done, "but for the note of it, the pointer moves last"
        done = live.read_live(store) != first
        if then is not None:
            publish(store, then, shards=SHARDS)
        reindex(store, index)
        latest = snapshot.latest(store)
        assert latest is not None
        assert_settled(store, index, rows, latest.snapshot_id)
        assert live.history(store, most=1) == [live.read_live(store)]
        moment += 1
    assert done
    return moment
