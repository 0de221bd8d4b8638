"""A model in another precision, as a registered version of its own.

So it is measured, let through the gate, indexed in its own namespace, rolled back and retired like any other version,
and nothing need know that it is the same model.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from include.retriever.encoders.precision import Precision, split_precision, with_precision
from include.retriever.manifest import ModelManifest
from include.retriever.registry import load_manifest, model_folder, register
from include.storage import ArtifactStore


def ensure_precision(store: ArtifactStore, version: str, precision: Precision) -> ModelManifest:
    """The version of a model that computes in some precision; it is registered unless it is.

    It has the same files, age and training, so that either can be retired without the other.

    :param version: a registered version of the model, in whatever precision.
    :raises FileNotFoundError: there is no such version.
    """
    name = with_precision(split_precision(version)[0], precision)
    if store.is_complete(*model_folder(name)):
        return load_manifest(store, name)
    manifest = load_manifest(store, version).model_copy(update={"version": name})
    with store.local_copy(*model_folder(version)) as folder, tempfile.TemporaryDirectory() as temporary:
        return register(store, shutil.copytree(folder, Path(temporary) / "model"), manifest)
