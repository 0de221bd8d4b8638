"""Sampling with CTranslate2: quicker than PyTorch on a CPU, for it computes with whole numbers of 8 bits.

It draws with a generator that belongs to the thread that does the work, and that takes its seed when it first draws:
samples cannot be seeded one by one. So texts are sampled in units, each by a translator (and thread) of its own whose
seed follows from the texts in it. A repeated call gives the same samples, whatever the order of its texts and however
many threads there are; but a text's samples depend on which others share its call, and on the batch size.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ctranslate2

from include.devices.halving import HalvingBatch, is_out_of_memory
from include.queries.doc2query.engine import GeneratorModelError, TokenizedText, by_length
from include.queries.doc2query.sampling import Sampling

UNIT = 32
"""Texts a unit. A new translator costs a third of what one text costs, about 0.2 s for T5-base."""
MOST_WORKERS = 4
"""Units at a time at most: each has a copy of the model (250 MB for T5-base) and its texts' keys and values."""

_SEEDING = threading.Lock()
"""The seed is one of the whole process, so that one thread at a time may set it and let its translator take it."""


class CTranslate2Engine:
    """A T5 that was converted by :mod:`include.queries.doc2query.conversion`.

    :param folder: of the converted model.
    :param kind: its number format.
    :param steps: tokens of the longest sample.
    :param threads: for units at a time, as far as :data:`MOST_WORKERS` allows; the rest are shared among them. Threads
        that share the small matrices of one unit wait for each other more than they work.
    :param batch_size: texts at a time in each unit.
    """

    name = "ctranslate2"

    def __init__(
        self,
        folder: Path,
        *,
        kind: str,
        sampling: Sampling,
        steps: int,
        device: str,
        threads: int,
        batch_size: int,
    ) -> None:
        self._folder, self._kind = folder, kind
        self._end: str = json.loads((folder / "config.json").read_text())["eos_token"]
        self._sampling, self._steps = sampling, steps
        self._device = device
        self._workers = max(1, min(threads, MOST_WORKERS)) if device == "cpu" else 1
        self._threads = max(1, threads // self._workers)
        self._batch = HalvingBatch(batch_size)

    def sample(
        self, sources: Sequence[TokenizedText], n: int, seed: int, done: Callable[[int], None]
    ) -> list[list[list[int]]]:
        """See :class:`include.queries.doc2query.engine.Engine`."""
        order = by_length(sources)
        units = [order[start : start + UNIT] for start in range(0, len(order), UNIT)]
        found: dict[int, list[list[int]]] = {}

        def sample_unit(unit: Sequence[int]) -> list[list[list[int]]]:
            own = [sources[at] for at in unit]
            return self._batch.run(lambda size: self._sample_unit(own, n, _unit_seed(own, seed), size))

        with ThreadPoolExecutor(self._workers) as pool:
            for unit, samples in zip(units, pool.map(sample_unit, units), strict=True):
                found.update(zip(unit, samples, strict=True))
                done(len(unit))
        return [found[at] for at in range(len(sources))]

    def _sample_unit(
        self, sources: Sequence[TokenizedText], n: int, seed: int, batch_size: int
    ) -> list[list[list[int]]]:
        translator = self._translator()
        options: dict[str, Any] = {
            "beam_size": 1,
            "num_hypotheses": n,
            "sampling_topk": self._sampling.top_k,
            "sampling_topp": self._sampling.top_p,
            "sampling_temperature": self._sampling.temperature,
            "max_input_length": 0,
            "min_decoding_length": 0,
        }
        with _SEEDING:
            ctranslate2.set_random_seed(seed)
            # Any text but one of nothing than its end, for which CTranslate2 does not draw.
            translator.translate_batch([["2", self._end]], max_decoding_length=1, **options)
        results = translator.translate_batch(
            [_names(source.tokens) for source in sources],
            max_batch_size=batch_size,
            max_decoding_length=self._steps,
            **options,
        )
        return [[[int(token) for token in hypothesis] for hypothesis in result.hypotheses] for result in results]

    def score(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """See :class:`include.queries.doc2query.engine.Engine`."""
        texts, queries = zip(*((_names(text), _names(query)) for text, query in pairs), strict=True)
        results = self._translator().score_batch(list(texts), list(queries), max_batch_size=8, max_input_length=0)
        return [list(result.log_probs) for result in results]

    def likeliest(self, texts: Sequence[Sequence[int]], steps: int) -> list[list[int]]:
        """See :class:`include.queries.doc2query.engine.Engine`."""
        results = self._translator().translate_batch(
            [_names(text) for text in texts],
            beam_size=1,
            sampling_topk=1,
            max_batch_size=8,
            max_input_length=0,
            max_decoding_length=steps,
            min_decoding_length=0,
        )
        return [[int(token) for token in result.hypotheses[0]] for result in results]

    def _translator(self) -> ctranslate2.Translator:
        try:
            return ctranslate2.Translator(
                str(self._folder),
                device=self._device,
                compute_type=self._kind,
                inter_threads=1,
                intra_threads=self._threads,
            )
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise GeneratorModelError(
                f"The converted model in {self._folder} cannot be read ({error}): remove it, and it is converted again."
            ) from error


def _names(tokens: Sequence[int]) -> list[str]:
    return [str(token) for token in tokens]


def _unit_seed(sources: Sequence[TokenizedText], seed: int) -> int:
    """A seed of 31 bits (the largest of 32 means that none is set)."""
    name = "\n".join([str(seed), *(source.episode_id for source in sources)])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1
