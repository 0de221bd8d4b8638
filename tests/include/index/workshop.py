"""A re-index without a model: embeddings made from their hash, and whole runs that can be recorded or killed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from upath import UPath

from include.episodes import snapshot
from include.index import live
from include.index.contract import EpisodeIndex, Metadata, Records, Vectors
from include.index.lancedb import LanceIndex
from include.index.plan import Plan, namespace_of, plan_reindex, read_journal, require_current
from include.index.write import (
    delete_withdrawn,
    finish_namespace,
    prepare_namespace,
    texts_to_encode,
    upsert_shard,
    verify,
)
from include.retriever import registry
from include.retriever.encode import EmbeddingCache, shard_part
from include.retriever.manifest import ModelManifest
from include.storage import MANIFEST, ArtifactStore
from tests.include.episodes.catalogue import Row

DIMENSION = 16
MODEL = "m1"
NAMESPACE = namespace_of(MODEL)


def embedding(content_hash: str, model: str = MODEL, dimension: int = DIMENSION) -> Vectors:
    """The vector of a text, shape (dimension,): random, but the same each time."""
    seed = int.from_bytes(hashlib.sha256(f"{model} {content_hash}".encode()).digest()[:8], "big")
    values = np.random.default_rng(seed).normal(size=dimension).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values), np.float32)


def embed(store: ArtifactStore, plan: Plan, dimension: int = DIMENSION) -> list[str]:
    """Do what encoding does, for every shard of a plan; the texts that had to be encoded."""
    done: list[str] = []
    for shard in plan.shards:
        texts = texts_to_encode(store, plan, shard)
        if texts:
            vectors = np.stack([embedding(key, plan.model_version, dimension) for key in texts])
            EmbeddingCache(store, plan.model_version, shard_part(shard)).add(list(texts), vectors)
        done.extend(texts.values())
    return done


def write(store: ArtifactStore, index: EpisodeIndex, plan: Plan, dimension: int = DIMENSION) -> None:
    """The steps between planning and verifying."""
    prepare_namespace(store, index, plan, dimension)
    embed(store, plan, dimension)
    for shard in plan.shards or [0]:
        upsert_shard(store, index, plan, shard)
    delete_withdrawn(store, index, plan)
    finish_namespace(store, index, plan)


def write_live(store: ArtifactStore, pointer: live.LivePointer) -> None:
    """Have search use what a pointer names, whatever is live."""
    store.write_json(pointer.model_dump(mode="json"), live.FILE)


def activate(store: ArtifactStore, index: EpisodeIndex, plan: Plan) -> live.LivePointer:
    return live.activate(
        store,
        backend=index.backend,
        index=index.name,
        namespace=plan.namespace,
        model_version=plan.model_version,
        snapshot_id=plan.snapshot_id,
        metrics={},
        report=None,
    )


def reindex(store: ArtifactStore, index: EpisodeIndex, model: str = MODEL, dimension: int = DIMENSION) -> Plan:
    """A whole run, from planning to activation."""
    plan = plan_reindex(store, model_version=model, live=live.read_live(store))
    write(store, index, plan, dimension)
    verify(store, index, plan)
    require_current(store, plan)
    activate(store, index, plan)
    return plan


def register(store: ArtifactStore, version: str, *, age: int = 0) -> None:
    """Put the manifest of a model into the registry, ``age`` days old."""
    manifest = ModelManifest(
        version=version,
        kind="fine-tuned",
        base_model="base",
        dimension=DIMENSION,
        max_seq_length=128,
        registered_at=datetime.fromtimestamp(1_700_000_000 - 86_400 * age, UTC),
    )
    store.write_json(manifest.model_dump(mode="json"), registry.FOLDER, version, MANIFEST)


Content = dict[str, tuple[tuple[float, ...], Metadata]]


def expected(rows: Iterable[Row], model: str = MODEL) -> Content:
    """What the namespace of a model must hold of some episodes."""
    return {
        row["episode_id"]: (
            rounded(embedding(row["content_hash"], model)),
            Metadata(
                **{name: row[name] for name in snapshot.INDEXED},
                model_version=model,
            ),
        )
        for row in rows
    }


def record(row: Row, model: str = MODEL, **changes: Any) -> Records:
    """The record of an episode, with other metadata where it is said."""
    ((key, (_, metadata)),) = expected([row], model).items()
    return Records([key], embedding(row["content_hash"], model)[None], [replace(metadata, **changes)])


def content(index: EpisodeIndex, namespace: str = NAMESPACE) -> Content:
    """All that a namespace holds."""
    hits = index.search_vectors(namespace, np.ones((1, DIMENSION), np.float32), 10_000)[0]
    assert len(hits) == index.count(namespace)
    found = index.fetch(namespace, [hit.episode_id for hit in hits])
    assert {hit.episode_id: hit.metadata for hit in hits} == {key: stored.metadata for key, stored in found.items()}
    return {key: (rounded(stored.values), stored.metadata) for key, stored in found.items()}


def rounded(vector: Vectors) -> tuple[float, ...]:
    return tuple(np.round(vector.astype(float), 4).tolist())


def assert_settled(store: ArtifactStore, index: EpisodeIndex, rows: Iterable[Row], snapshot_id: str) -> None:
    """The index, the pointer and the journal are those of an undisturbed run."""
    assert content(index) == expected(rows)
    pointer = live.require_live(store)
    assert (pointer.namespace, pointer.snapshot_id, pointer.previous) == (NAMESPACE, snapshot_id, None)
    assert read_journal(store, NAMESPACE).states == [snapshot_id]
    assert plan_reindex(store, model_version=MODEL, live=pointer).action == "nothing"


class RecordingIndex(LanceIndex):
    """An embedded index that notes what is written to it."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.upserted: list[str] = []
        self.deleted: list[str] = []

    def upsert(self, namespace: str, batches: Iterable[Records]) -> int:
        batches = list(batches)
        self.upserted.extend(key for batch in batches for key in batch.ids)
        return super().upsert(namespace, batches)

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        self.deleted.extend(ids)
        super().delete(namespace, ids)


class Killed(BaseException):
    """Stands for the end of a process: nothing handles it."""


@dataclass
class Fuse:
    """Ends a run before one of its writes; the moment after a write is the one before the next."""

    left: int
    passed: int = field(default=0, init=False)

    def moment(self) -> None:
        if self.passed == self.left:
            raise Killed
        self.passed += 1


class MortalIndex(LanceIndex):
    """An embedded index, any write of which may be the first that does not happen."""

    def __init__(self, location: str, fuse: Fuse) -> None:
        super().__init__(location)
        self.fuse = fuse

    def create(self, namespace: str, dimension: int) -> None:
        self.fuse.moment()
        super().create(namespace, dimension)

    def upsert(self, namespace: str, batches: Iterable[Records]) -> int:
        def watched() -> Iterator[Records]:
            for batch in batches:
                self.fuse.moment()
                yield batch

        return super().upsert(namespace, watched())

    def delete(self, namespace: str, ids: Sequence[str]) -> None:
        half = len(ids) // 2
        for part in (ids[:half], ids[half:]):
            self.fuse.moment()
            super().delete(namespace, part)

    def finish(self, namespace: str) -> None:
        self.fuse.moment()
        super().finish(namespace)


class MortalStore(ArtifactStore):
    """The same for the artifact store."""

    def __init__(self, root: str | Path, fuse: Fuse) -> None:
        super().__init__(root)
        self.fuse = fuse

    def write_bytes(self, data: bytes, *parts: str) -> UPath:
        self.fuse.moment()
        return super().write_bytes(data, *parts)

    def replace_if(self, expected: bytes | None, data: bytes, *parts: str) -> None:
        """The moment is before the swap and not in it, for whoever does something then may swap as well."""
        self.fuse.moment()
        ArtifactStore(str(self.root)).replace_if(expected, data, *parts)

    def remove(self, *parts: str) -> None:
        self.fuse.moment()
        super().remove(*parts)
