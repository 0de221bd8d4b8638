"""Converting transformers for CTranslate2, once per machine, in a folder that drops what is not used."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctranslate2
from ctranslate2.converters import TransformersConverter
from ctranslate2.specs.model_spec import visit_spec
from filelock import FileLock

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

FORMAT = 1
"""Raise it when conversion changes, so that models are converted again."""
UNUSED_DAYS = 60
"""A converted model that has not been opened for this long is deleted when another is made."""


def converted(name: str, identity: str, *, compute_type: str, cache: Path, convert: Callable[[Path], object]) -> Path:
    """The folder of a converted model, which is created unless it exists.

    Concurrent tasks wait for the first; a killed one leaves nothing that looks finished.

    :param identity: distinguishes the model's weights from all others.
    :param compute_type: the number format, in CTranslate2's terms.
    :param convert: creates the folder, and raises if it cannot be trusted, before anybody else sees it.
    """
    parts = (identity, ctranslate2.__version__, compute_type, str(FORMAT))
    target = cache / f"{name}-{compute_type}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.is_dir():
            log.info("Converting %s to %s for CTranslate2, once: %s.", name, compute_type, target)
            with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=cache) as temporary:
                made = Path(temporary) / "model"
                convert(made)
                made.rename(target)
            _forget_unused(cache)
        os.utime(target)
    return target


def convert(
    model: PreTrainedModel,
    folder: Path,
    *,
    compute_type: str,
    config: Mapping[str, Any],
    adjust: Callable[[Any, str, Any], None] | None = None,
) -> Path:
    """Write a model in CTranslate2's format, in a new folder, with numbers for tokens.

    :param config: what the converter is to read in the model's configuration.
    :param adjust: is called for each variable, once its numbers are small: its specification, its name, and itself.
    """
    # A copy: to make whole numbers of them, the library scales the weights where they are.
    model = copy.deepcopy(model)
    vars(model.config).update(config)
    with tempfile.TemporaryDirectory() as source:
        model.config.save_pretrained(source)
        spec = _Converter(source, model).spec()
    spec.validate()
    spec.optimize(quantization=compute_type)
    if adjust is not None:
        visit_spec(spec, adjust)
    folder.mkdir(parents=True)
    spec.save(str(folder))
    return folder


class _Converter(TransformersConverter):  # type: ignore[misc]  # the library has no types
    """The library's converter, with a model that is loaded already."""

    def __init__(self, folder: str, model: PreTrainedModel) -> None:
        super().__init__(folder)
        self._model = model

    def spec(self) -> Any:
        """The model as the library describes it, before its numbers are made small."""
        return self._load()

    def load_model(self, model_class: Any, model_name_or_path: str, **options: Any) -> Any:
        return self._model

    def load_tokenizer(self, tokenizer_class: Any, model_name_or_path: str, **options: Any) -> Any:
        return _Numbers(self._model.config)


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


def _forget_unused(cache: Path) -> None:
    oldest = time.time() - UNUSED_DAYS * 86_400
    for folder in cache.iterdir():
        if folder.is_dir() and folder.stat().st_mtime < oldest:
            log.info("Deleting %s, which was not used for %d days.", folder, UNUSED_DAYS)
            shutil.rmtree(folder, ignore_errors=True)
