"""Batches of tokenized texts, so that little is computed for padding and a batch fits the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from include.retriever.encoders.contract import Kind

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Features = dict[str, Any]
"""What a model computes on: token numbers and their mask, shape (n, length), and what else it wants to know."""
Rows = npt.NDArray[np.int64]


def by_length(texts: Sequence[str]) -> list[int]:
    """Positions of the texts, longest first: those of like length stand together, and a batch that is too large for the
    memory shows at once.
    """
    return sorted(range(len(texts)), key=lambda at: -len(texts[at]))


def by_tokens(lengths: Rows, budget: int) -> list[Rows]:
    """Rows in batches of so many tokens at most, padding counted, longest first; a batch has one row at least.

    Ordered by tokens and not by letters, for a Chinese text has four times as many tokens a letter as an English one.
    """
    order = np.argsort(-lengths, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        end = start + max(1, budget // max(1, int(lengths[order[start]])))
        batches.append(order[start:end])
        start = end
    return batches


def tokenize(model: SentenceTransformer, texts: list[str], kind: Kind) -> Features:
    """What a model makes of some texts, with its prompt for such texts."""
    return dict(model.preprocess(texts, prompt=prompt_of(model, kind), task=kind))


def prompt_of(model: SentenceTransformer, kind: Kind) -> str | None:
    """What the model puts before a text of some kind, by the rules of its ``encode_query`` and ``encode_document``."""
    names = ("query",) if kind == "query" else ("document", "passage", "corpus")
    name = next((name for name in names if name in model.prompts), model.default_prompt_name)
    return model.prompts.get(name) if name else None


def lengths_of(features: Features) -> Rows | None:
    """Tokens of each text; None if they are not padded on the right, as models do that are no plain transformers."""
    tokens, mask = features.get("input_ids"), features.get("attention_mask")
    if not (isinstance(tokens, torch.Tensor) and isinstance(mask, torch.Tensor)):
        return None
    if tokens.ndim != 2 or tokens.shape != mask.shape:
        return None
    lengths = mask.sum(dim=1)
    if not torch.equal(mask.bool(), torch.arange(mask.shape[1]) < lengths[:, None]):
        return None
    return np.asarray(lengths.numpy(), dtype=np.int64)


def cut(features: Features, rows: Rows, length: int) -> Features:
    """Some texts of many, without the padding that they do not need."""
    texts, width = features["input_ids"].shape
    chosen = torch.from_numpy(rows)

    def own(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) != texts:
            return value
        return value[chosen, :length] if value.ndim == 2 and value.shape[1] == width else value[chosen]

    return {name: own(value) for name, value in features.items()}
