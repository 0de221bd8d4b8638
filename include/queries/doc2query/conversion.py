"""Converting a T5 for CTranslate2, once a machine.

CTranslate2 4.8.5 reads ``tie_word_embeddings`` to know whether the decoder's output is scaled. transformers 5 sets it
for every T5 and keeps the truth in ``scale_decoder_outputs``: a T5 v1.1, as doc2query's is, would be converted with all
logits divided by 28. Sampling from them gives garbage, while greedy decoding still looks right. We tell the converter
the truth; :mod:`include.queries.doc2query.parity` makes sure.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctranslate2
import numpy as np
from ctranslate2.converters import TransformersConverter
from ctranslate2.specs.model_spec import NumpyVariable, visit_spec
from filelock import FileLock

from include.queries.doc2query.load import ModelSource

if TYPE_CHECKING:
    from transformers import T5ForConditionalGeneration

log = logging.getLogger(__name__)

FORMAT = 1
"""Raise it when conversion changes, so that models are converted anew."""


def default_cache() -> Path:
    """Where converted models are kept if nothing else is said: beside the hub's cache."""
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "podsearch"


def compute_type(device: str) -> str:
    """The number format that suits a device: whole numbers of 8 bits on a CPU, bfloat16 on a GPU that has it."""
    wanted = ("bfloat16", "int8", "float32") if device == "cuda" else ("int8", "float32")
    supported = ctranslate2.get_supported_compute_types(device)
    return next(kind for kind in wanted if kind in supported)


def converted(source: ModelSource, load: Callable[[], T5ForConditionalGeneration], *, kind: str, cache: Path) -> Path:
    """The folder of a converted model, which is made unless it is there.

    Tasks that come at the same time wait for the first; one that is killed leaves nothing that looks finished.

    :param load: gives the model, if it must be converted.
    :param kind: its number format.
    """
    parts = (source.identity, ctranslate2.__version__, kind, str(FORMAT))
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", Path(source.name).name)
    target = cache / f"{slug}-{kind}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.is_dir():
            log.info("Converting %s to %s for CTranslate2, once: %s.", source.name, kind, target)
            with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=cache) as temporary:
                made = convert(source, load(), Path(temporary) / "model", kind=kind)
                made.rename(target)
    return target


def convert(source: ModelSource, model: T5ForConditionalGeneration, folder: Path, *, kind: str) -> Path:
    """Write a model in CTranslate2's format, with numbers for tokens."""
    # A copy: to make whole numbers of them, the library scales the weights where they are.
    model = copy.deepcopy(model)
    model.config.tie_word_embeddings = scales_output(model.config)
    spec = _Converter(source, model).spec()
    spec.validate()
    spec.optimize(quantization=kind)
    if kind == "int8":
        visit_spec(spec, _to_seven_bits)
    folder.mkdir(parents=True)
    spec.save(str(folder))
    return folder


def scales_output(config: Any) -> bool:
    """Whether the decoder's output is scaled: what the converter takes ``tie_word_embeddings`` for."""
    return bool(getattr(config, "scale_decoder_outputs", False))


class _Converter(TransformersConverter):  # type: ignore[misc]  # the library has no types
    """The library's converter, with a model that is loaded already."""

    def __init__(self, source: ModelSource, model: T5ForConditionalGeneration) -> None:
        super().__init__(str(source.folder))
        self._model = model

    def spec(self) -> Any:
        """The model as the library describes it, before its numbers are made small."""
        return self._load()

    def load_model(self, model_class: Any, model_name_or_path: str, **options: Any) -> Any:
        return self._model

    def load_tokenizer(self, tokenizer_class: Any, model_name_or_path: str, **options: Any) -> Any:
        return _Numbers(self._model.config)


def _to_seven_bits(spec: Any, name: str, value: Any) -> None:
    """Halve the 8-bit numbers of a matrix that is multiplied with.

    A processor without VNNI adds pairs of products in 16 bits, and cuts off what does not fit: where weights use all 8
    bits that happens, and the log-probabilities of a small model were off by 0.28 in the mean, in place of 0.04.
    """
    scope, _, own = name.rpartition("/")
    scale: Any = getattr(spec, f"{own}_scale", None)
    if hasattr(scale, "numpy") and value.dtype == "int8" and "embeddings" not in scope:
        setattr(spec, own, NumpyVariable(np.rint(value.numpy() / 2).astype(np.int8)))
        setattr(spec, f"{own}_scale", NumpyVariable(scale.numpy() / 2))


class _Numbers:
    """Stands where a tokenizer is asked for its vocabulary: each token is called by its number.

    The model has more tokens than the tokenizer, and the converter would give them names that others have.
    """

    def __init__(self, config: Any) -> None:
        self._size = config.vocab_size
        self.pad_token, self.eos_token, self.unk_token = str(config.pad_token_id), str(config.eos_token_id), "2"

    def get_vocab(self) -> dict[str, int]:
        return {str(number): number for number in range(self._size)}

    def convert_ids_to_tokens(self, number: int) -> str:
        return str(number)
