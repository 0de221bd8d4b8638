"""Encoding texts, each at most once for a model: vectors are cached by (model version, content hash).

A cache is a folder of Parquet files, each written atomically after a chunk of work, so that a killed task loses at most
one chunk and a repeated one encodes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.storage import ArtifactStore, digest

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

Vectors = npt.NDArray[np.float32]

FOLDER = "embeddings"
CHUNK = 1024


def encode(model: SentenceTransformer, texts: list[str], *, batch_size: int) -> Vectors:
    """L2-normalised vectors of some texts, shape (n, dimension), float32."""
    vectors = model.encode(
        texts, batch_size=batch_size, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
    )
    return np.asarray(vectors, dtype=np.float32)


def shard_part(shard: int) -> str:
    """The part of a cache that belongs to a shard of the catalogue."""
    return f"shard-{shard:04d}"


class EmbeddingCache:
    """Vectors of one model version.

    :param part: the folder that new vectors go to, one a task (``shard-0003``, ``held-out``). All are read: an episode
        is in another shard when its show or the number of shards changed.
    """

    def __init__(self, store: ArtifactStore, model_version: str, part: str) -> None:
        self.store = store
        self.folder = (FOLDER, model_version, part)

    def missing(self, hashes: set[str]) -> set[str]:
        """Which of some texts have no vector yet."""
        left = set(hashes)
        for file in self._files():
            if not left:
                break
            left.difference_update(self.store.read_table(*file, columns=["content_hash"])["content_hash"].to_pylist())
        return left

    def add(self, hashes: list[str], vectors: Vectors) -> None:
        values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), vectors.shape[1])
        table = pa.table({"content_hash": pa.array(hashes), "vector": values})
        self.store.write_table(table, *self.folder, f"{digest(*hashes)}.parquet")

    def encode_missing(self, texts: Mapping[str, str], model: SentenceTransformer, *, batch_size: int) -> int:
        """Encode what has no vector yet, longest texts first, and log the progress.

        :param texts: text by content hash.
        :returns: how many texts were encoded.
        """
        todo = sorted(self.missing(set(texts)), key=lambda key: (-len(texts[key]), key))
        started = time.monotonic()
        for start in range(0, len(todo), CHUNK):
            chunk = todo[start : start + CHUNK]
            self.add(chunk, encode(model, [texts[key] for key in chunk], batch_size=batch_size))
            done = start + len(chunk)
            rate = done / max(time.monotonic() - started, 1e-9)
            log.info(
                "Encoded %d of %d texts (%.0f a second, %.0f s left at most).",
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
        found: dict[str, Vectors] = {}
        left = set(hashes)
        for file in self._files():
            if not left:
                break
            table = self.store.read_table(*file)
            table = table.filter(pc.is_in(table["content_hash"], value_set=pa.array(sorted(left), pa.string())))
            keys = table["content_hash"].to_pylist()
            found.update(zip(keys, _matrix(table), strict=True))
            left.difference_update(keys)
        return np.stack([found[key] for key in hashes]) if hashes else np.empty((0, 0), np.float32)

    def _files(self) -> Iterator[tuple[str, ...]]:
        """Paths of the model's files, those of this part first."""
        *model, own = self.folder
        for part in [own, *(name for name in self.store.names(*model) if name != own)]:
            for name in self.store.names(*model, part):
                yield (*model, part, name)


def _matrix(table: pa.Table) -> Vectors:
    """The vectors of a cache file, shape (n, dimension)."""
    column = table["vector"].combine_chunks()
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), column.type.list_size))
