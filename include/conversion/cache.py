"""Converted models, made once per machine, in a folder that drops what is not used."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import ctranslate2
from filelock import FileLock

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
    with suppress(OSError):  # it is not there yet, or may only be read
        os.utime(target)
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.is_dir():
            log.info("Converting %s to %s for CTranslate2, once: %s.", name, compute_type, target)
            with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=cache) as temporary:
                made = Path(temporary) / "model"
                convert(made)
                made.rename(target)
            _forget_unused(cache)
    return target


def _forget_unused(cache: Path) -> None:
    oldest = time.time() - UNUSED_DAYS * 86_400
    for folder in cache.iterdir():
        if folder.is_dir() and folder.stat().st_mtime < oldest:
            log.info("Deleting %s, which was not used for %d days.", folder, UNUSED_DAYS)
            shutil.rmtree(folder, ignore_errors=True)
