"""Removing model versions that nothing needs any more, with the vectors that were made with them.

A version goes only if all of this holds: it was trained here (a base model is what every training starts from); it is
neither live nor what was live before; no namespace has its vectors; it is older than the live one (a newer one may be
waiting for the gate); and enough newer ones are kept.
"""

from __future__ import annotations

import logging

from include.index.contract import EpisodeIndex
from include.index.live import read_live
from include.index.plan import model_of
from include.retriever.encode import FOLDER as EMBEDDINGS
from include.retriever.manifest import ModelManifest
from include.retriever.registry import FOLDER as MODELS
from include.retriever.registry import model_folder, registered
from include.retriever.training.plan import FOLDER as TRAINING
from include.storage import ArtifactStore

log = logging.getLogger(__name__)

KEPT = 5
"""Trained models, beside those that are, or were just, live."""
UNFINISHED = (MODELS, "retiring.json")
"""Versions, with their trainings, whose removal has begun: without its manifest, what is left of a version no longer
looks like one."""


def retire_models(store: ArtifactStore, index: EpisodeIndex, *, keep: int = KEPT) -> list[str]:
    """Remove versions by the rule above, and finish what an interrupted call has begun; the names of all of them.

    What was measured of a version stays where it is.

    :param keep: trained versions that are kept, the newest; those that are live, or were before, count.
    """
    gone = {manifest.version: manifest.training_id for manifest in _unneeded(store, index, keep)}
    for version, training_id in (store.read_json_if_there(*UNFINISHED) or {}).items():
        # One that is whole was not touched yet, or was registered anew: the rule has decided on it.
        if not store.is_complete(*model_folder(version)):
            gone[version] = training_id
    if not gone:
        store.remove(*UNFINISHED)
        return []
    store.write_json(gone, *UNFINISHED)
    for version, training_id in gone.items():
        store.remove(EMBEDDINGS, version)
        if training_id:
            store.remove(TRAINING, training_id, "model")
        store.remove(*model_folder(version))
        log.info("Removed the model %s.", version)
    store.remove(*UNFINISHED)
    return list(gone)


def _unneeded(store: ArtifactStore, index: EpisodeIndex, keep: int) -> list[ModelManifest]:
    versions = registered(store)
    pointer = read_live(store)
    live = next((manifest for manifest in versions if pointer and manifest.version == pointer.model_version), None)
    if pointer is None or live is None:
        return []
    needed = {pointer.model_version, pointer.previous.model_version if pointer.previous else None}
    indexed = {model_of(name) for name in index.namespaces()}
    trained = [manifest for manifest in versions if manifest.kind == "fine-tuned"]
    return [
        manifest
        for manifest in trained[keep:]
        if manifest.version not in needed
        and manifest.version not in indexed
        and manifest.registered_at < live.registered_at
    ]
