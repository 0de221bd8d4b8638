"""From a spec to an engine that was compared with transformers."""

from __future__ import annotations

import importlib.util
import logging
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from include.hub import conversions
from include.queries.contract import GeneratorSpec
from include.queries.doc2query.engine import Engine, GeneratorModelError
from include.queries.doc2query.load import ModelSource, load_model, load_tokenizer, locate
from include.queries.doc2query.parity import PAIRS, Parity, require_parity
from include.queries.doc2query.sampling import Sampling
from include.queries.doc2query.torch_engine import TorchEngine
from include.storage import ArtifactStore

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration

log = logging.getLogger(__name__)

BATCH_SIZES = {"cpu": 16, "cuda": 256}
"""Texts at a time. Measured on a CPU, where 8, 16 and 32 are within a tenth of each other; a GPU is idle with few."""


def engine_name(spec: GeneratorSpec, device: str) -> str:
    """What runs the model. On a CPU CTranslate2 is almost twice as quick; a GPU is kept busier by our own loop."""
    if spec.engine != "auto":
        return spec.engine
    return "ctranslate2" if device == "cpu" and importlib.util.find_spec("ctranslate2") else "torch"


def open_engine(
    spec: GeneratorSpec, *, device: str, threads: int, cache: Path | None
) -> tuple[PreTrainedTokenizerBase, Engine]:
    """The tokenizer and the engine of a spec.

    :param cache: folder for converted models (default: beside the hub's own cache).
    :raises GeneratorModelError: the model cannot be had, or the engine does not compute what it says.
    :raises RetryLaterError: the model could not be downloaded now.
    """
    source = locate(spec.model, spec.revision)
    tokenizer = load_tokenizer(source)
    name = engine_name(spec, device)
    log.info("Queries are written by %s with %s on %s.", source.identity, name, device)
    if name == "torch":
        return tokenizer, _open_torch(spec, source, tokenizer, device=device)
    return tokenizer, _open_ctranslate2(spec, source, tokenizer, device=device, threads=threads, cache=cache)


def _open_torch(spec: GeneratorSpec, source: ModelSource, tokenizer: PreTrainedTokenizerBase, *, device: str) -> Engine:
    model = load_model(source)
    engine = TorchEngine(
        model, sampling=_sampling(spec), steps=spec.max_output_tokens, device=device, batch_size=BATCH_SIZES[device]
    )
    # The weights are the same: a text is enough to see that the decoder still is transformers'.
    require_parity(engine, model, tokenizer, kind=str(model.dtype).removeprefix("torch."), pairs=PAIRS[:1])
    return engine


def _open_ctranslate2(
    spec: GeneratorSpec,
    source: ModelSource,
    tokenizer: PreTrainedTokenizerBase,
    *,
    device: str,
    threads: int,
    cache: Path | None,
) -> Engine:
    try:
        from include.queries.doc2query.conversion import compute_type, converted
        from include.queries.doc2query.ctranslate2_engine import CTranslate2Engine
    except ImportError as error:
        raise GeneratorModelError(
            f"The engine ctranslate2 is not installed ({error}): pip install -r requirements.txt, or set "
            "PODSEARCH_GENERATOR_ENGINE=torch."
        ) from error

    @lru_cache(maxsize=1)
    def load() -> T5ForConditionalGeneration:
        return load_model(source)

    kind = compute_type(device)
    folder = converted(source, load, kind=kind, cache=cache or conversions())
    engine = CTranslate2Engine(
        folder,
        kind=kind,
        sampling=_sampling(spec),
        steps=spec.max_output_tokens,
        device=device,
        threads=threads,
        batch_size=BATCH_SIZES[device],
    )
    # Another processor may compute otherwise: each has its own record beside the converted model.
    store, record = ArtifactStore(folder), f"parity-{_processor(device)}.json"
    if not store.exists(record):
        parity: Parity = require_parity(engine, load(), tokenizer, kind=kind)
        store.write_json(parity.model_dump(), record)
    return engine


def _sampling(spec: GeneratorSpec) -> Sampling:
    return Sampling(top_p=spec.top_p, top_k=spec.top_k, temperature=spec.temperature)


def _processor(device: str) -> str:
    name = torch.cuda.get_device_name(0) if device == "cuda" else torch.backends.cpu.get_cpu_capability()
    return "".join(character if character.isalnum() else "-" for character in name.lower())
