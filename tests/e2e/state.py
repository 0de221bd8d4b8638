"""The state that a pipeline leaves behind, in a form that two installations can be compared by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from include.episodes import snapshot
from include.index.contract import Metadata
from include.index.live import LivePointer, require_live
from include.index.opening import open_index
from include.index.plan import read_journal
from include.retriever.registry import load_manifest
from include.retriever.training.pairing import read_pairs
from include.settings import Settings
from include.storage import ArtifactStore


@dataclass
class State:
    """What is live, and everything it holds."""

    snapshot: snapshot.Manifest
    pointer: LivePointer
    records: dict[str, Metadata]
    vectors: dict[str, np.ndarray]
    states: list[str | None]
    """Snapshots whose records the live namespace may hold."""
    namespaces: list[str]
    pairs: pa.Table
    """What the live model was trained and tested on."""


def read_state(settings: Settings) -> State:
    store = ArtifactStore(settings.installation.artifacts_root)
    pointer = require_live(store)
    index = open_index(settings)
    latest = snapshot.latest(store)
    assert latest is not None
    ids = sorted(index.list_ids(pointer.namespace))
    vectors = {key: stored.values for key, stored in index.fetch(pointer.namespace, ids).items()}
    probe = np.stack([vectors[ids[0]]])
    records = {hit.episode_id: hit.metadata for hit in index.search_vectors(pointer.namespace, probe, len(ids))[0]}
    states = read_journal(store, pointer.namespace).states
    pairs = read_pairs(store, load_manifest(store, pointer.model_version).training_id or "")
    return State(latest, pointer, records, vectors, states, index.namespaces(), pairs)


def assert_same(one: State, other: State) -> None:
    """Two installations ended in the same state: names, records and vectors; times and paths aside."""
    assert one.snapshot.snapshot_id == other.snapshot.snapshot_id
    assert one.snapshot.quarantined == other.snapshot.quarantined
    assert one.pointer.namespace == other.pointer.namespace
    assert one.pointer.snapshot_id == other.pointer.snapshot_id
    assert one.states == other.states == [one.snapshot.snapshot_id]
    assert one.namespaces == other.namespaces
    assert one.records == other.records
    assert one.pairs.equals(other.pairs)
    for key, vector in one.vectors.items():
        np.testing.assert_allclose(vector, other.vectors[key], atol=1e-4, err_msg=key)
