"""What a model was trained on, in figures: a part of its manifest and of its card."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
from pydantic import BaseModel

from include.episodes import snapshot
from include.storage import ArtifactStore

NOT_GIVEN = "not given"


class TrainingData(BaseModel):
    """The data of a training; its dump is :attr:`include.retriever.registry.ModelManifest.data`."""

    snapshot_id: str
    source_version: str
    """Which version of the dataset the snapshot was made from."""
    catalogue: int
    """Episodes of the snapshot."""
    episodes: int
    """Those of them that have pairs."""
    pairs: dict[str, dict[str, int]]
    """Pairs by split and origin."""
    languages: dict[str, int]
    """Training pairs by the language of their episode, most first."""


def describe(store: ArtifactStore, snapshot_id: str, pairs: pa.Table) -> TrainingData:
    """The data of a training.

    :param pairs: in the shape of :data:`include.retriever.pairs.PAIRS`; those that are trained on and measured with.
    """
    manifest = snapshot.load(store, snapshot_id)
    table = snapshot.read(store, snapshot_id, columns=["episode_id", "language"])
    languages = dict(zip(table["episode_id"].to_pylist(), table["language"].to_pylist(), strict=True))
    rows = pairs.select(["split", "origin", "episode_id"]).to_pylist()
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row["split"], Counter())[row["origin"]] += 1
    spoken = Counter(languages.get(row["episode_id"]) or NOT_GIVEN for row in rows if row["split"] == "train")
    return TrainingData(
        snapshot_id=snapshot_id,
        source_version=manifest.source_version,
        catalogue=manifest.episodes,
        episodes=len({row["episode_id"] for row in rows}),
        pairs={split: dict(own.most_common()) for split, own in sorted(counts.items())},
        languages=dict(spoken.most_common()),
    )
