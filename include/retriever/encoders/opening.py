"""Opening a registered model for encoding, in the fastest way on its device."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from include.hub import conversions
from include.retriever.encoders.contract import Encoder, EncoderError
from include.retriever.encoders.parity import LEAST_COSINE, PROBES, least_cosine
from include.retriever.encoders.precision import Precision, split_precision
from include.retriever.encoders.torch_encoder import TorchEncoder
from include.retriever.registry import open_model
from include.storage import ArtifactStore

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

FOLDER = "converted"
Engine = Literal["auto", "torch"]
"""``auto`` uses CTranslate2 if possible; ``torch`` never does."""


def open_encoder(
    store: ArtifactStore, version: str, device: str, *, engine: Engine = "auto", cache: Path | None = None
) -> Encoder:
    """Open a registered model version, in the precision that its name says (``…-int8``).

    :param device: ``cpu`` or ``cuda``; ``int8`` is computed on the CPU all the same.
    :param cache: where converted models are kept on this machine (default: in the artifact store, or beside the hub's
        cache if it is an object store).
    :raises EncoderError: the model cannot be used in this precision.
    """
    _, precision = split_precision(version)
    model = open_model(store, version, "cpu" if precision == "int8" else device)
    default = store.local_root / FOLDER if store.local_root else conversions()
    return make_encoder(model, precision, engine=engine, cache=cache or default)


def make_encoder(model: SentenceTransformer, precision: Precision, *, engine: Engine = "auto", cache: Path) -> Encoder:
    """An encoder for a model that nobody else uses: its weights are converted or freed.

    :raises EncoderError: the model cannot be used in this precision.
    """
    if precision == "float16" and model.device.type == "cuda":
        return _half(model)
    if precision == "float16":
        log.info("16 bits are slow on a CPU: encoding with 32 instead, which gives nearly the same vectors.")
    if model.device.type != "cpu" or (engine == "torch" and precision != "int8"):
        return TorchEncoder(model)
    from include.retriever.encoders.ctranslate2_encoder import ctranslate2_encoder

    wanted: Precision = "int8" if precision == "int8" else "float32"
    try:
        return ctranslate2_encoder(model, precision=wanted, threads=torch.get_num_threads(), cache=cache)
    except EncoderError as error:
        if wanted == "int8":
            raise EncoderError(f"The model cannot be used in 8 bits: {error}. Use float32.") from error
        log.info("Encoding with PyTorch: %s.", error)
        return TorchEncoder(model)


def _half(model: SentenceTransformer) -> Encoder:
    """An encoder that computes with 16 bits on a GPU, once its vectors were compared."""
    encoder = TorchEncoder(model)
    reference = encoder.encode(PROBES)
    model.half()
    cosine = least_cosine(encoder.encode(PROBES), reference)
    if cosine < LEAST_COSINE["float16"]:
        raise EncoderError(
            f"The model cannot be used in 16 bits: a vector has a cosine of {cosine:.3f} to its own. Use float32."
        )
    return encoder
