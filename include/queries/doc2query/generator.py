"""The ``doc2query`` generator: questions that a T5 was trained to ask of a text."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from include.queries.contract import DOC2QUERY, GeneratorSpec, Passage, Query
from include.queries.doc2query.engine import Engine, TokenizedText
from include.queries.doc2query.open_engine import open_engine
from include.queries.doc2query.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

CHUNKS = {"cpu": 256, "cuda": 8192}
"""Passages a call: some minutes of work on a few cores, and some seconds on a GPU, which likes to be kept busy."""


class Doc2QueryGenerator:
    """Samples queries from a T5; the positive of each is the whole text of its episode.

    The model is loaded when the first passages come. Which queries they get depends on the spec, on the engine that
    ``auto`` stands for on this device, and on what :class:`include.queries.contract.QueryGenerator` says.

    :param name: the origin of its queries; for the others see :func:`include.queries.opening.create_generator`.
    """

    def __init__(
        self,
        spec: GeneratorSpec,
        *,
        device: str,
        threads: int = 0,
        cache: Path | None = None,
        name: str = DOC2QUERY,
    ) -> None:
        self.name = name
        self.tokens = 0
        self._spec = spec
        self._device = device
        self._threads = threads or len(os.sched_getaffinity(0))
        self._cache = cache
        self.chunk: int | None = CHUNKS[device]

    def generate(self, passages: Sequence[Passage], n: int, seed: int) -> list[list[Query]]:
        """See :class:`include.queries.contract.QueryGenerator`.

        :raises GeneratorModelError: the model cannot be had or used.
        :raises RetryLaterError: it could not be downloaded now.
        """
        texts = [passage.text() for passage in passages]
        # A text without a word would be asked about all the same.
        telling = [at for at, text in enumerate(texts) if any(map(str.isalnum, text))]
        queries: list[list[Query]] = [[] for _ in passages]
        if not telling or n < 1:
            return queries
        tokenizer, engine = self._opened
        tokens = tokenizer([texts[at] for at in telling], truncation=True, max_length=self._spec.max_input_tokens)[
            "input_ids"
        ]
        sources = [TokenizedText(passages[at].episode_id, tuple(own)) for at, own in zip(telling, tokens, strict=True)]
        samples = engine.sample(sources, n, seed, Progress(len(sources)).add)
        self.tokens += sum(len(sample) for own in samples for sample in own)
        for at, own in zip(telling, samples, strict=True):
            written = tokenizer.batch_decode(own, skip_special_tokens=True)
            queries[at] = [Query(text, self.name, texts[at]) for text in _distinct(written)]
        return queries

    @cached_property
    def _opened(self) -> tuple[PreTrainedTokenizerBase, Engine]:
        return open_engine(self._spec, device=self._device, threads=self._threads, cache=self._cache)


def _distinct(texts: Sequence[str]) -> list[str]:
    """Texts without empty ones and repetitions, whatever their case and white space."""
    found: dict[str, str] = {}
    for text in texts:
        plain = " ".join(text.split())
        if plain:
            found.setdefault(plain.casefold(), plain)
    return list(found.values())
