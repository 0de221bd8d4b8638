"""Models that CTranslate2 computes, converted once per machine."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from include.conversion.cache import converted
from include.retriever.encoders.contract import EncoderError
from include.retriever.encoders.ctranslate2_encoder import CTranslate2Encoder
from include.retriever.encoders.precision import Precision
from include.storage import MANIFEST

ARCHITECTURES = {"bert", "distilbert"}
"""Kinds of models that are known to convert well, such as all-MiniLM-L6-v2 and distiluse-base-multilingual-cased-v2."""


def open_converted(folder: Path, *, precision: Precision, threads: int = 0, cache: Path) -> CTranslate2Encoder:
    """Open a model with CTranslate2; the first time, it is converted and its vectors are compared.

    :param folder: in sentence-transformers' format.
    :param threads: 0: one per core that this process may use.
    :param cache: where converted models are kept.
    :raises EncoderError: it cannot be converted, or its vectors would differ too much.
    :raises ModelError: it cannot be loaded.
    """
    if _architecture(folder) not in ARCHITECTURES:
        raise EncoderError("CTranslate2 does not know this kind of model")

    def convert(target: Path) -> None:
        from include.retriever.encoders.conversion import convert_model

        convert_model(folder, target, precision=precision)

    made = converted("encoder", _fingerprint(folder), compute_type=precision, cache=cache, convert=convert)
    return CTranslate2Encoder(made, precision=precision, threads=threads or len(os.sched_getaffinity(0)))


def _architecture(folder: Path) -> str | None:
    """The kind of transformer that a model begins with, as far as its files say."""
    try:
        first = json.loads((folder / "modules.json").read_bytes())[0]
        return str(json.loads((folder / first["path"] / "config.json").read_bytes())["model_type"])
    except (OSError, LookupError, TypeError, ValueError):
        return None


def _fingerprint(folder: Path) -> str:
    """Identified by all of its files, so that a retrained model never gets another's conversion."""
    sha = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != MANIFEST and file.suffix != ".md":
            sha.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                sha.update(hashlib.file_digest(content, "sha256").digest())
    return sha.hexdigest()
