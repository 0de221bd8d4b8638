"""Converting a T5 for CTranslate2, once a machine.

CTranslate2 4.8.5 reads ``tie_word_embeddings`` to know whether the decoder's output is scaled. transformers 5 sets it
for every T5 and keeps the truth in ``scale_decoder_outputs``: a T5 v1.1, as doc2query's is, would be converted with all
logits divided by 28. Sampling from them gives garbage, while greedy decoding still looks right. We tell the converter
the truth; :mod:`include.queries.doc2query.parity` makes sure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctranslate2
import numpy as np
from ctranslate2.specs.model_spec import NumpyVariable

from include.conversion import cache as conversions
from include.conversion import transformers
from include.queries.doc2query.load import ModelSource

if TYPE_CHECKING:
    from transformers import T5ForConditionalGeneration


def compute_type(device: str) -> str:
    """The number format that suits a device: whole numbers of 8 bits on a CPU, bfloat16 on a GPU that has it."""
    wanted = ("bfloat16", "int8", "float32") if device == "cuda" else ("int8", "float32")
    supported = ctranslate2.get_supported_compute_types(device)
    return next(kind for kind in wanted if kind in supported)


def converted(source: ModelSource, load: Callable[[], T5ForConditionalGeneration], *, kind: str, cache: Path) -> Path:
    """The folder of a converted model, which is made unless it is there.

    :param load: gives the model, if it must be converted.
    :param kind: its number format.
    """
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", Path(source.name).name)
    return conversions.converted(
        name,
        source.identity,
        compute_type=kind,
        cache=cache,
        convert=lambda folder: convert(load(), folder, kind=kind),
    )


def convert(model: T5ForConditionalGeneration, folder: Path, *, kind: str) -> Path:
    """Write a model in CTranslate2's format."""
    return transformers.convert(
        model,
        folder,
        compute_type=kind,
        config={"tie_word_embeddings": scales_output(model.config)},
        adjust=_to_seven_bits if kind == "int8" else None,
    )


def scales_output(config: Any) -> bool:
    """Whether the decoder's output is scaled: what the converter takes ``tie_word_embeddings`` for."""
    return bool(getattr(config, "scale_decoder_outputs", False))


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
