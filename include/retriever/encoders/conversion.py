"""Converting a transformer for CTranslate2, once a machine."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctranslate2
import torch
from ctranslate2.converters import TransformersConverter
from filelock import FileLock
from sentence_transformers.sentence_transformer.modules import Transformer

from include.retriever.encoders.precision import Precision

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

FORMAT = 1
"""Raise it when conversion changes, so that models are converted anew."""
ARCHITECTURES = {"bert", "distilbert"}
"""What is known to be converted well: all-MiniLM-L6-v2 and distiluse-base-multilingual-cased-v2 are of them."""
UNUSED_DAYS = 60
"""A converted model that was not opened for so long is deleted when another is made."""


def transformer_of(model: SentenceTransformer) -> PreTrainedModel | None:
    """The transformer that the model begins with, if CTranslate2 knows its kind."""
    transformer = model.transformers_model
    if type(model[0]) is not Transformer or transformer is None:
        return None
    return transformer if transformer.config.model_type in ARCHITECTURES else None


def converted(
    model: PreTrainedModel, *, precision: Precision, cache: Path, check: Callable[[Path], dict[str, Any]]
) -> Path:
    """The folder of a converted model, which is made unless it is there.

    It is named after the weights, so that a model that was trained anew never meets another's conversion. Tasks that
    come at the same time wait for the first; one that is killed leaves nothing that looks finished.

    :param check: is called with the folder before anybody else sees it; raises if the conversion cannot be trusted.
        What it returns is kept beside the model.
    """
    parts = (_fingerprint(model), ctranslate2.__version__, precision, str(FORMAT))
    target = cache / f"encoder-{precision}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.is_dir():
            log.info("Converting the model to %s for CTranslate2, once: %s.", precision, target)
            with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=cache) as temporary:
                made = convert(model, Path(temporary), precision=precision)
                (made / "check.json").write_text(json.dumps(check(made)))
                shutil.move(made, target)
            _forget_unused(cache)
        os.utime(target)
    return target


def convert(model: PreTrainedModel, folder: Path, *, precision: Precision) -> Path:
    """Write a transformer in CTranslate2's format, in a new folder in an existing one."""
    # The converter quantizes the very tensors that it is given: the model would be another afterwards.
    model = copy.deepcopy(model)
    # BERT has no other positions since transformers 5, and no longer says so; the converter asks.
    model.config.position_embedding_type = "absolute"
    model.config.save_pretrained(folder / "source")
    converter = _Converter(str(folder / "source"), model)
    return Path(converter.convert(str(folder / "model"), quantization=precision))


class _Converter(TransformersConverter):  # type: ignore[misc]
    """The library's converter, with a model that is loaded already."""

    def __init__(self, folder: str, model: PreTrainedModel) -> None:
        super().__init__(folder)
        self._model = model

    def load_model(self, model_class: Any, model_name_or_path: str, **options: Any) -> Any:
        return self._model

    def load_tokenizer(self, tokenizer_class: Any, model_name_or_path: str, **options: Any) -> Any:
        return _Numbers(self._model.config.vocab_size)


class _Numbers:
    """Stands where a tokenizer is asked for its vocabulary: each token is called by its number, and none is missing."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.unk_token = str(0)

    def get_vocab(self) -> dict[str, int]:
        return {str(number): number for number in range(self._size)}


def _fingerprint(model: PreTrainedModel) -> str:
    sha = hashlib.sha256(model.config.to_json_string().encode())
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()


def _forget_unused(cache: Path) -> None:
    oldest = time.time() - UNUSED_DAYS * 86_400
    for folder in cache.glob("encoder-*"):
        if folder.is_dir() and folder.stat().st_mtime < oldest:
            log.info("Deleting %s, which was not used for %d days.", folder, UNUSED_DAYS)
            shutil.rmtree(folder, ignore_errors=True)
