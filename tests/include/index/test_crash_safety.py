"""A run may end at any moment. Whatever it left, the next one ends as if it had never been."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from include.index import live, write
from include.index.lancedb import LanceIndex
from include.index.plan import plan_reindex
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import Row, publish
from tests.include.index.crashes import (
    FIRST,
    SECOND,
    STORIES,
    STORY,
    THIRD,
    EmbeddedHome,
    assert_no_trace_of_a_killed_run,
    make_quick,
)
from tests.include.index.workshop import (
    MODEL,
    NAMESPACE,
    Fuse,
    Killed,
    MortalIndex,
    MortalStore,
    assert_settled,
    reindex,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


@pytest.mark.parametrize(STORY, STORIES)
def test_a_run_killed_before_any_of_its_writes_leaves_no_trace(
    tmp_path: Path, action: str, then: list[Row] | None, rows: list[Row]
) -> None:
    moments = assert_no_trace_of_a_killed_run(EmbeddedHome(tmp_path, action), then, rows)
    assert moments > 10, "the run was killed before each of its writes"


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
            index.drop(NAMESPACE)
            plan = plan_reindex(store, model_version=MODEL, live=live.read_live(store))
            if plan.action != "full":
                with pytest.raises(write.LostNamespaceError):
                    reindex(store, index)
        reindex(store, index)
        assert_settled(store, index, rows, latest.snapshot_id)
