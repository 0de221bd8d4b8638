"""Encoding texts, each at most once per model: vectors are cached by (model version, content hash).

A cache is a folder of Parquet files, each written atomically after a chunk of work, so that a killed task loses at most
one chunk and a repeated one encodes nothing. When there are many files they are merged, because finding a vector means
reading all of them. Vectors of texts that nothing needs any more are removed by :mod:`include.housekeeping.vectors`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.retriever.composition import COMPOSITION, encode_documents
from include.retriever.encoders.contract import Encoder, Vectors
from include.storage import ArtifactStore, StoredFile, digest

log = logging.getLogger(__name__)

FOLDER = "embeddings"
CHUNK = 1024
"""How many texts are encoded between two writes, at first."""
CHUNK_SECONDS = 20
"""If a chunk takes less time, the next is twice as large, up to :data:`LARGEST_CHUNK`."""
LARGEST_CHUNK = 32_768
SMALL = 8_192
"""A file with fewer vectors is small."""
FEW = 8
"""So many small files are merged into one, of 130 MB at most for 512 dimensions."""
COLUMNS = ["episode_id", "text", "content_hash"]
_SMALL_PREFIX = "small-"


def shard_part(shard: int) -> str:
    """The part of a cache that belongs to a shard of the catalogue."""
    return f"shard-{shard:04d}"


def cached(store: ArtifactStore, model_version: str) -> list[StoredFile]:
    """The files of a model's cache, of all parts."""
    found = store.files(*_of_model(model_version))
    return sorted((file for file in found if not file.path[-1].startswith(".")), key=lambda file: file.path)


def cached_texts(store: ArtifactStore, file: StoredFile) -> pa.ChunkedArray:
    """Hashes of the texts whose vectors a file has."""
    return store.read_table(*file.path, columns=["content_hash"])["content_hash"]


def keep_only(store: ArtifactStore, file: StoredFile, hashes: pa.Array) -> None:
    """Remove a file, once those of its vectors that are of these texts are in another."""
    table = store.read_table(*file.path)
    kept = table.filter(pc.is_in(table["content_hash"], value_set=hashes))
    if len(kept) == len(table):
        return
    if len(kept):
        _write(store, kept, digest(*kept["content_hash"].to_pylist()), *file.path[:-1])
    store.remove(*file.path)


def _of_model(model_version: str) -> tuple[str, ...]:
    """The folder of a model's cache."""
    return FOLDER, model_version, f"composition{COMPOSITION}"


def _write(store: ArtifactStore, table: pa.Table, name: str, *folder: str) -> None:
    prefix = _SMALL_PREFIX if len(table) < SMALL else ""
    store.write_table(table, *folder, f"{prefix}{name}.parquet")


class Embedded(NamedTuple):
    """Episodes and their vectors, shape (n, dimension)."""

    ids: list[str]
    hashes: list[str]
    """Of their texts."""
    vectors: Vectors
    encoded: int
    """How many texts had no vector before."""


def embed(
    store: ArtifactStore, model_version: str, encoder: Encoder, shards: Iterable[tuple[int, pa.Table]]
) -> Embedded:
    """Vectors of episodes, shard by shard, through the cache that indexing uses.

    :param shards: number of each, and its episodes with :data:`COLUMNS`; together at least one.
    """
    ids: list[str] = []
    hashes: list[str] = []
    vectors: list[Vectors] = []
    encoded = 0
    for shard, table in shards:
        if not len(table):
            continue
        own = table["content_hash"].to_pylist()
        cache = EmbeddingCache(store, model_version, shard_part(shard))
        encoded += cache.encode_missing(dict(zip(own, table["text"].to_pylist(), strict=True)), encoder)
        ids += table["episode_id"].to_pylist()
        hashes += own
        vectors.append(cache.vectors(own))
    return Embedded(ids, hashes, np.concatenate(vectors), encoded)


class EmbeddingCache:
    """Vectors of one model version, made as :mod:`include.retriever.composition` says.

    :param part: the folder that new vectors go to, one a task (``shard-0003``, ``held-out``). All are read: an episode
        is in another shard when its show or the number of shards changed.
    """

    def __init__(self, store: ArtifactStore, model_version: str, part: str) -> None:
        self.store = store
        self.folder = (*_of_model(model_version), part)

    def missing(self, hashes: set[str]) -> set[str]:
        """Which of some texts have no vector yet."""
        left = set(hashes)
        for _, keys in self._keys():
            left.difference_update(keys.to_pylist())
            if not left:
                break
        return left

    def add(self, hashes: list[str], vectors: Vectors) -> None:
        values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), vectors.shape[1])
        table = pa.table({"content_hash": pa.array(hashes), "vector": values})
        _write(self.store, table, digest(*hashes), *self.folder)
        self._merge()

    def encode_missing(self, texts: Mapping[str, str], encoder: Encoder, *, batch_size: int = 0) -> int:
        """Encode the texts that have no vector yet, longest first, and log the progress.

        :param texts: text by content hash.
        :returns: how many texts were encoded.
        """
        todo = sorted(self.missing(set(texts)), key=lambda key: (-len(texts[key]), key))
        started = time.monotonic()
        done, size = 0, CHUNK
        while done < len(todo):
            chunk, chunk_started = todo[done : done + size], time.monotonic()
            self.add(chunk, encode_documents(encoder, [texts[key] for key in chunk], batch_size=batch_size))
            done += len(chunk)
            now = time.monotonic()
            if now - chunk_started < CHUNK_SECONDS:
                size = min(2 * size, LARGEST_CHUNK)
            rate = done / max(now - started, 1e-9)
            log.info(
                "Encoded %d of %d texts (%.0f per second, at most %.0f s left).",
                done,
                len(todo),
                rate,
                (len(todo) - done) / rate,
            )
        return len(todo)

    def vectors(self, hashes: list[str]) -> Vectors:
        """Vectors in the order of the hashes, shape (n, dimension).

        :raises KeyError: one of them was never encoded.
        """
        if not hashes:
            return np.empty((0, 0), np.float32)
        wanted = pa.array(hashes, pa.string())
        unique = wanted.unique()
        found = np.zeros(len(unique), bool)
        vectors: Vectors | None = None
        for file, keys in self._keys():
            rows = pc.index_in(keys, value_set=unique)
            column = self._read(file, "vector") if rows.null_count < len(rows) else None
            if column is None:
                continue
            own: Vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
            if vectors is None:
                vectors = np.empty((len(unique), own.shape[1]), np.float32)
            known = rows.is_valid().to_numpy(zero_copy_only=False)
            at = rows.drop_null().to_numpy(zero_copy_only=False)
            vectors[at], found[at] = own[known], True
            if found.all():
                break
        if vectors is None or not found.all():
            raise KeyError(unique[int(np.argmin(found))].as_py())
        return vectors if len(unique) == len(wanted) else vectors[pc.index_in(wanted, value_set=unique).to_numpy()]

    def _keys(self) -> Iterator[tuple[tuple[str, ...], pa.Array]]:
        """The model's files and the hashes in each, those of this part first."""
        seen: set[tuple[str, ...]] = set()
        # Again and again, for files that were in the list may have been merged into one that was not.
        while files := [file for file in self._files() if file not in seen]:
            for file in files:
                seen.add(file)
                keys = self._read(file, "content_hash")
                if keys is not None:
                    yield file, keys

    def _read(self, file: tuple[str, ...], column: str) -> pa.Array | None:
        """A column of a file; None if another task has just merged the file."""
        try:
            return self.store.read_table(*file, columns=[column])[column].combine_chunks()
        except FileNotFoundError:
            return None

    def _files(self) -> list[tuple[str, ...]]:
        """Paths of the model's files, those of this part first."""
        return sorted(self.store.paths(*self.folder[:-1]), key=lambda path: path[:-1] != self.folder)

    def _merge(self) -> None:
        """Merge this part's small files if there are many. If interrupted, it leaves some vectors in two files."""
        names = [name for name in self.store.names(*self.folder) if name.startswith(_SMALL_PREFIX)]
        if len(names) < FEW:
            return
        try:
            tables = [self.store.read_table(*self.folder, name) for name in names]
        except FileNotFoundError:
            return  # another attempt at this task is still at work
        _write(self.store, pa.concat_tables(tables), digest(*names), *self.folder)
        for name in names:
            self.store.remove(*self.folder, name)
