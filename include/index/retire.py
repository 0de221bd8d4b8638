"""Dropping namespaces that nothing needs any more."""

from __future__ import annotations

import logging

from include.index.contract import EpisodeIndex
from include.index.live import read_live
from include.index.plan import forget, model_of
from include.retriever.registry import FOLDER as MODELS
from include.retriever.registry import load_manifest
from include.storage import ArtifactStore

log = logging.getLogger(__name__)


def retire(store: ArtifactStore, index: EpisodeIndex, *, keep: int) -> list[str]:
    """Drop all but the live namespace, the one before it, and the newest others up to ``keep``; their names.

    What is not named after a registered model is not ours to drop, and is left alone.
    """
    live = read_live(store)
    if live is None:
        return []
    needed = [live.namespace, *([live.previous.namespace] if live.previous else [])]
    others = sorted(
        (name for name in index.namespaces() if name not in needed and store.is_complete(MODELS, model_of(name))),
        key=lambda name: load_manifest(store, model_of(name)).registered_at,
        reverse=True,
    )
    dropped = others[max(0, keep - len(set(needed))) :]
    for name in dropped:
        # Search resolves the pointer before it asks, and the pointer does not name these.
        forget(store, name)
        index.drop(name)
        log.info("Dropped the namespace %s.", name)
    return dropped
