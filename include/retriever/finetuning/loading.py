"""Loading the models of a training from folders or a hub: safetensors only, never remote code."""

from __future__ import annotations

from pathlib import Path

from sentence_transformers import SentenceTransformer

from include.retriever.registry import load_base, load_folder


def load_guide(name: str, base_folder: Path, device: str) -> SentenceTransformer:
    """The guide of a recipe, which itself learns nothing.

    :param name: as a base model is named, or ``base`` for the one that the training begins with.
    :raises ModelError: it cannot be found or reached.
    """
    guide = load_folder(base_folder, device) if name == "base" else load_base(name, device)
    return guide.eval().requires_grad_(False)
