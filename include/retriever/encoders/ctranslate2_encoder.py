"""Encoding with CTranslate2 on a CPU: the same vectors as PyTorch's but faster, or nearly the same in 8 bits much
faster.

Neither PyTorch nor sentence-transformers is needed, which take seconds to import, so that a search from the command
line answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import ctranslate2
import numpy as np
from tokenizers import Tokenizer

from include.retriever.encoders.batches import BATCH_SIZE, Rows, by_tokens, padded, tokenized, used
from include.retriever.encoders.contract import TextKind, Vectors
from include.retriever.encoders.head import Head
from include.retriever.encoders.precision import Precision

TOKENIZER = "tokenizer.json"


class CTranslate2Encoder:
    """A converted model.

    Every text is tokenized once, while the texts before it are computed; batches are made by the number of tokens.

    :param folder: what :mod:`.conversion` made.
    :param threads: batches at a time. Several threads for one batch would share its small matrices, and wait for each
        other more than they work.
    """

    def __init__(self, folder: Path, *, precision: Precision, threads: int) -> None:
        self.tokens = 0
        self._head = Head.read(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._threads = threads
        self._transformer = ctranslate2.Encoder(
            str(folder), device="cpu", compute_type=precision, inter_threads=threads, intra_threads=1
        )

    def encode(self, texts: Sequence[str], *, batch_size: int = 0, kind: TextKind = "document") -> Vectors:
        """See :class:`include.retriever.encoders.contract.Encoder`."""
        budget = (batch_size or BATCH_SIZE["cpu"]) * self._head.shape.max_tokens
        vectors = np.empty((len(texts), self._head.shape.dimension), np.float32)
        with ThreadPoolExecutor(self._threads) as pool:
            for window, _, (tokens, lengths) in tokenized(texts, lambda some: self._tokens(some, kind)):
                batches = by_tokens(lengths, budget)
                computed = pool.map(self._vectors, repeat(tokens), repeat(lengths), batches)
                for rows, own in zip(batches, computed, strict=True):
                    vectors[np.take(window, rows)] = own
                self.tokens += int(lengths.sum())
        return vectors

    def _tokens(self, texts: list[str], kind: TextKind) -> tuple[Rows, Rows]:
        """Token numbers of some texts, shape (n, length), and how many each has."""
        prompt = self._head.shape.prompts[kind]
        encoded = self._tokenizer.encode_batch_fast([prompt + text for text in texts])
        return padded([one.ids for one in encoded], self._head.shape.pad)

    def _vectors(self, tokens: Rows, lengths: Rows, rows: Rows) -> Vectors:
        """Vectors of a batch, shape (rows, dimension)."""
        lengths = lengths[rows]
        numbers, counts = (
            ctranslate2.StorageView.from_array(np.ascontiguousarray(one, dtype=np.int32))
            for one in (tokens[rows, : lengths.max()], lengths)
        )
        hidden = np.asarray(self._transformer.forward_batch(numbers, counts).last_hidden_state)
        return self._head.vectors(hidden, used(lengths))
