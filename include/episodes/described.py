"""Which episodes have a description: the others are found by their titles, and train and measure no model."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from include.episodes import snapshot
from include.storage import ArtifactStore


def described(episodes: pa.Table) -> pa.Table:
    """Those of some episodes that have a description."""
    return episodes.filter(pc.is_valid(episodes["description"]))


def without_description(store: ArtifactStore, snapshot_id: str) -> set[str]:
    """Ids of the episodes of a snapshot that have no description."""
    found: set[str] = set()
    for batch in snapshot.reader(store, snapshot_id, columns=["episode_id", "description"]):
        found.update(batch["episode_id"].filter(pc.is_null(batch["description"])).to_pylist())
    return found
