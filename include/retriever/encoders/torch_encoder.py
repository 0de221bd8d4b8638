"""Encoding with PyTorch: any sentence-transformers model, on any device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from include.devices.attention import plain_attention
from include.devices.halving import HalvingBatch
from include.retriever.encoders.batches import Features, by_length, by_tokens, cut, lengths_of, tokenize
from include.retriever.encoders.contract import TextKind, Vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH_SIZE = {"cpu": 4, "cuda": 256}
"""What suits a device. On a CPU a batch should stay in its caches: 1,024 tokens are 1.1 times as fast as 4,096."""
WINDOW = 1_024
"""Texts that are tokenized at a time."""
_UNLIMITED = 2**31


class TorchEncoder:
    """A model that encodes with PyTorch.

    Every text is tokenized once, while the window before it is computed; batches are made by the number of tokens. A
    GPU that runs out of memory goes on with smaller batches.
    """

    def __init__(self, model: SentenceTransformer) -> None:
        self._model = model.eval()
        self._device = model.device
        self._batch = HalvingBatch(_UNLIMITED)

    def encode(self, texts: Sequence[str], *, batch_size: int = 0, kind: TextKind = "document") -> Vectors:
        """See :class:`include.retriever.encoders.contract.Encoder`."""
        size = batch_size or BATCH_SIZE.get(self._device.type, BATCH_SIZE["cuda"])
        if not texts:
            return np.empty((0, self._model.get_embedding_dimension() or 0), np.float32)
        order = by_length(texts)
        with plain_attention():
            parts = [
                self._batch.run(partial(self._window, [texts[at] for at in window], features, kind), size=size)
                for window, features in self._tokenized(texts, order, kind)
            ]
        vectors = np.empty((len(texts), parts[0].shape[1]), np.float32)
        vectors[order] = np.concatenate(parts)
        return vectors

    def _tokenized(
        self, texts: Sequence[str], order: list[int], kind: TextKind
    ) -> Iterator[tuple[list[int], Features]]:
        """Positions and tokens of the texts, a window at a time; the next is tokenized while one is computed."""
        windows = [order[start : start + WINDOW] for start in range(0, len(order), WINDOW)]
        with ThreadPoolExecutor(1) as pool:
            ahead = [pool.submit(tokenize, self._model, [texts[at] for at in windows[0]], kind)]
            for number, window in enumerate(windows):
                features = ahead.pop().result()
                for following in windows[number + 1 : number + 2]:
                    ahead.append(pool.submit(tokenize, self._model, [texts[at] for at in following], kind))
                yield window, features

    @torch.inference_mode()
    def _window(self, texts: list[str], features: Features, kind: TextKind, size: int) -> Vectors:
        lengths = lengths_of(features)
        if lengths is None:
            return self._by_itself(texts, kind, size)
        rows = by_tokens(lengths, size * int(self._model.max_seq_length or lengths.max()))
        batches = (cut(features, own, int(lengths[own[0]])) for own in rows)
        # One copy from the device a window: it would be waited for after each batch.
        computed = torch.cat(list(self._forward(batches, kind)))[:, : self._model.truncate_dim]
        vectors = np.empty(tuple(computed.shape), np.float32)
        vectors[np.concatenate(rows)] = torch.nn.functional.normalize(computed.float(), dim=1).cpu().numpy()
        return vectors

    def _forward(self, batches: Iterable[Features], kind: TextKind) -> Iterator[Tensor]:
        """The vectors of each batch, as the model gives them."""
        for batch in batches:
            features = {
                name: value.to(self._device) if isinstance(value, Tensor) else value for name, value in batch.items()
            }
            yield self._model(features, task=kind)["sentence_embedding"]

    def _by_itself(self, texts: list[str], kind: TextKind, size: int) -> Vectors:
        """What a model does that is no plain transformer."""
        encode = self._model.encode_query if kind == "query" else self._model.encode_document
        return np.asarray(
            encode(texts, batch_size=size, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False),
            dtype=np.float32,
        )
