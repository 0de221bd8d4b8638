"""A run may end at any moment. Whatever it left, the next one ends as if it had never been."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from include.episodes import snapshot
from include.index import live, write
from include.index.lancedb import LanceIndex
from include.index.plan import plan_reindex
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import Row, episode, publish
from tests.include.index.workshop import (
    MODEL,
    Fuse,
    Killed,
    MortalIndex,
    MortalStore,
    assert_settled,
    reindex,
)

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


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches, so that a run can end in the middle of a shard; and no waiting for the disk."""
    monkeypatch.setattr(write, "UPSERT_BATCH", 8)
    monkeypatch.setattr(os, "fsync", lambda _: None)


class Home:
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

    def index(self) -> LanceIndex:
        return LanceIndex(str(self.folder / "index"))

    def run_until(self, moment: int) -> bool:
        """From the beginning again, until some moment; whether it came."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.before, self.folder)
        fuse = Fuse(moment)
        try:
            reindex(MortalStore(self.folder / "artifacts", fuse), MortalIndex(str(self.folder / "index"), fuse))
        except Killed:
            return True
        return False


@pytest.mark.parametrize(
    ("action", "then", "rows"),
    [
        pytest.param("full", None, SECOND, id="full build"),
        pytest.param("full", THIRD, THIRD, id="full build, then another snapshot"),
        pytest.param("difference", None, SECOND, id="difference"),
        pytest.param("difference", THIRD, THIRD, id="difference, then another snapshot"),
        pytest.param("difference", FIRST, FIRST, id="difference, then back to the first snapshot"),
    ],
)
def test_a_run_killed_before_any_of_its_writes_leaves_no_trace(
    tmp_path: Path, action: str, then: list[Row] | None, rows: list[Row]
) -> None:
    home = Home(tmp_path, action)
    first = live.read_live(home.store())
    moment = 0
    while home.run_until(moment):
        store, index = home.store(), home.index()
        assert live.read_live(store) == first, "the pointer moves last"
        if then is not None:
            publish(store, then, shards=SHARDS)
        reindex(store, index)
        latest = snapshot.latest(store)
        assert latest is not None
        assert_settled(store, index, rows, latest.snapshot_id)
        moment += 1
    assert moment > 10, "the run was killed before each of its writes"


@pytest.mark.parametrize("seed", range(3))
def test_one_killed_run_after_another(tmp_path: Path, seed: int) -> None:
    """Runs die, snapshots come and go back, the number of shards changes, records are lost: one good run mends it."""
    draw = random.Random(seed)
    store, index = ArtifactStore(tmp_path / "artifacts"), LanceIndex(str(tmp_path / "index"))
    for _ in range(4):
        for _ in range(draw.randint(1, 4)):
            rows = draw.choice([FIRST, SECOND, THIRD, FIRST[:3]])
            latest = publish(store, rows, shards=draw.choice([1, 3]))
            fuse = Fuse(draw.randint(0, 45))
            try:
                reindex(MortalStore(tmp_path / "artifacts", fuse), MortalIndex(index.name, fuse))
            except Killed:
                continue
        if draw.random() < 0.3:
            index.drop(MODEL)
            plan = plan_reindex(store, model_version=MODEL, live=live.read_live(store))
            if plan.action != "full":
                with pytest.raises(write.LostNamespaceError):
                    reindex(store, index)
        reindex(store, index)
        assert_settled(store, index, rows, latest.snapshot_id)
