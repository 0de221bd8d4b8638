"""Encoding with PyTorch: any sentence-transformers model, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from sentence_transformers.util import batch_to_device
from torch import Tensor

from include.devices.attention import plain_attention
from include.devices.halving import HalvingBatch
from include.retriever.encoders.batches import BATCH_SIZE, by_tokens, tokenized
from include.retriever.encoders.contract import TextKind, Vectors
from include.retriever.encoders.features import Features, cut, lengths_of, tokenize

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_UNLIMITED = 2**31


class TorchEncoder:
    """A model that encodes with PyTorch.

    Every text is tokenized once, while the window before it is computed; batches are made by the number of tokens. A
    GPU that runs out of memory goes on with smaller batches.
    """

    def __init__(self, model: SentenceTransformer) -> None:
        self.tokens = 0
        self._model = model.eval()
        self._device = model.device
        self._batch = HalvingBatch(_UNLIMITED)

    def encode(self, texts: Sequence[str], *, batch_size: int = 0, kind: TextKind = "document") -> Vectors:
        """See :class:`include.retriever.encoders.contract.Encoder`."""
        size = batch_size or BATCH_SIZE.get(self._device.type, BATCH_SIZE["cuda"])
        if not texts:
            return np.empty((0, self._model.get_embedding_dimension() or 0), np.float32)
        order: list[int] = []
        parts: list[Vectors] = []
        with plain_attention():
            for window, own, features in tokenized(texts, lambda some: tokenize(self._model, some, kind)):
                order += window
                parts.append(self._batch.run(partial(self._window, own, features, kind), size=size))
        vectors = np.empty((len(texts), parts[0].shape[1]), np.float32)
        vectors[order] = np.concatenate(parts)
        return vectors

    @torch.inference_mode()
    def _window(self, texts: list[str], features: Features, kind: TextKind, size: int) -> Vectors:
        lengths = lengths_of(features)
        if lengths is None:
            return self._by_itself(texts, kind, size)
        rows = by_tokens(lengths, size * int(self._model.max_seq_length or lengths.max()))
        batches = (cut(features, own, int(lengths[own[0]])) for own in rows)
        # One copy from the device a window: it would be waited for after each batch.
        computed = torch.cat([self._forward(batch, kind) for batch in batches])[:, : self._model.truncate_dim]
        vectors = np.empty(tuple(computed.shape), np.float32)
        vectors[np.concatenate(rows)] = torch.nn.functional.normalize(computed.float(), dim=1).cpu().numpy()
        self.tokens += int(lengths.sum())
        return vectors

    def _forward(self, batch: Features, kind: TextKind) -> Tensor:
        """The vectors of a batch, as the model gives them."""
        embedding: Tensor = self._model(batch_to_device(batch, self._device), task=kind)["sentence_embedding"]
        return embedding

    def _by_itself(self, texts: list[str], kind: TextKind, size: int) -> Vectors:
        """What a model does that is no plain transformer."""
        encode = self._model.encode_query if kind == "query" else self._model.encode_document
        return np.asarray(
            encode(texts, batch_size=size, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False),
            dtype=np.float32,
        )
