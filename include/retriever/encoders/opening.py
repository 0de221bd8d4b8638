"""Opening a model for encoding, in the fastest way on its device."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from include.hub import conversions
from include.retriever.encoders.contract import Encoder, EncoderError
from include.retriever.encoders.precision import Precision, split_precision
from include.retriever.registry import load_folder, local_folder
from include.storage import ArtifactStore

log = logging.getLogger(__name__)

FOLDER = "converted"
Engine = Literal["auto", "torch"]
"""``auto`` uses CTranslate2 if possible; ``torch`` never does."""


def open_encoder(
    store: ArtifactStore,
    version: str,
    device: str,
    *,
    threads: int = 0,
    engine: Engine = "auto",
) -> Encoder:
    """Open a registered model version, in the precision that its name says (``…-int8``).

    Converted models are kept in the artifact store, or beside the hub's cache if it is an object store.

    :param device: ``cpu`` or ``cuda``; ``int8`` is computed on the CPU all the same.
    :param threads: for CTranslate2; 0: one per core that this process may use.
    :raises EncoderError: the model cannot be used in this precision.
    :raises ModelError: it is not there, or damaged.
    """
    _, precision = split_precision(version)
    cache = store.local_root / FOLDER if store.local_root else conversions()
    with local_folder(store, version) as folder:
        return open_folder(folder, precision, device, threads=threads, engine=engine, cache=cache)


def open_folder(
    folder: Path, precision: Precision, device: str, *, threads: int = 0, engine: Engine = "auto", cache: Path
) -> Encoder:
    """Likewise a model in a folder, in sentence-transformers' format.

    :param cache: where converted models are kept on this machine.
    """
    if precision == "float16" and device == "cuda":
        return _half(folder, device)
    if precision == "float16":
        log.info("16 bits are slow on a CPU: encoding with 32 instead, which gives nearly the same vectors.")
    if precision == "int8" or (device == "cpu" and engine == "auto"):
        from include.retriever.encoders.converted import open_converted

        wanted: Precision = "int8" if precision == "int8" else "float32"
        try:
            return open_converted(folder, precision=wanted, threads=threads, cache=cache)
        except EncoderError as error:
            if wanted == "int8":
                raise EncoderError(f"The model cannot be used in 8 bits: {error}. Use float32.") from error
            log.info("Encoding with PyTorch: %s.", error)
        except OSError as error:
            if wanted == "int8":
                raise
            log.warning("Encoding with PyTorch, for the converted model cannot be kept in %s: %s.", cache, error)
    from include.retriever.encoders.torch_encoder import TorchEncoder

    return TorchEncoder(load_folder(folder, device))


def _half(folder: Path, device: str) -> Encoder:
    """An encoder that computes with 16 bits on a GPU, once its vectors were compared."""
    from include.retriever.encoders.parity import LEAST_COSINE, PROBES, least_cosine
    from include.retriever.encoders.torch_encoder import TorchEncoder

    model = load_folder(folder, device)
    encoder = TorchEncoder(model)
    reference = encoder.encode(PROBES)
    model.half()
    cosine = least_cosine(encoder.encode(PROBES), reference)
    if cosine < LEAST_COSINE["float16"]:
        raise EncoderError(
            f"The model cannot be used in 16 bits: a vector has a cosine of {cosine:.3f} to its own. Use float32."
        )
    return encoder
