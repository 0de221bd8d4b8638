from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from include.retriever.pairs import PAIRS
from include.retriever.training_data import describe
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish


def pair(number: int, split: str, origin: str) -> dict[str, object]:
    return {
        "query": "q",
        "episode_id": f"e{number:04d}",
        "split": split,
        "origin": origin,
        "positive": "p",
        "group": "g",
        "weight": 1.0,
    }


def test_pairs_are_counted_by_split_origin_and_language(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    snapshot = publish(store, [episode(number) for number in range(9)], source="v7")
    rows = [
        pair(1, "train", "title"),
        pair(1, "train", "log:app"),
        pair(4, "train", "title"),
        pair(2, "train", "title"),
        pair(3, "train", "title"),
        pair(5, "eval", "lead"),
    ]
    data = describe(store, snapshot.snapshot_id, pa.Table.from_pylist(rows, schema=PAIRS))
    assert data.model_dump() == {
        "snapshot_id": snapshot.snapshot_id,
        "source_version": "v7",
        "catalogue": 9,
        "episodes": 5,
        "pairs": {"eval": {"lead": 1}, "train": {"title": 4, "log:app": 1}},
        "languages": {"English": 3, "German": 1, "not given": 1},
    }
