"""What a PyTorch model computes on: tokenized texts, whole or in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from include.retriever.encoders.batches import Rows, padded, used
from include.retriever.encoders.contract import TextKind

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Features = dict[str, Any]
"""Token numbers and their mask, shape (n, length), and what else a model wants to know."""
_UNPADDED = {
    "common": {"return_tensors": None},
    "text": {"padding": False, "return_attention_mask": False, "return_token_type_ids": False},
}


def tokenize(model: SentenceTransformer, texts: list[str], kind: TextKind) -> Features:
    """A model's output for some texts, with its prompt for such texts."""
    return preprocess(model, texts, prompt=prompt_of(model, kind), task=kind)


def preprocess(model: SentenceTransformer, texts: list[str], **options: Any) -> Features:
    """The result of ``model.preprocess``, but faster.

    For plain transformers, only token numbers are computed, and padded here: transformers goes through every number of
    every tensor in Python, which takes twice as long as tokenizing on two cores, and more on many.
    """
    tokenizer = plain_tokenizer(model)
    if tokenizer is None:
        return dict(model.preprocess(texts, **options))
    features: Features = dict(model.preprocess(texts, **options, processing_kwargs=_UNPADDED))
    tokens, lengths = padded(features["input_ids"], tokenizer.pad_token_id)
    mask = used(lengths).astype(np.int64)
    return {**features, "input_ids": torch.from_numpy(tokens), "attention_mask": torch.from_numpy(mask)}


def plain_tokenizer(model: SentenceTransformer) -> Any:
    """The tokenizer of a model that reads texts, each for itself, padded on the right; else None."""
    from sentence_transformers.base.modules import Transformer

    first = model[0]
    if type(first) is not Transformer or first.processing_kwargs or first.query_expansion is not None:
        return None
    if first.transformer_task != "feature-extraction" or list(first.modality_config) != ["text"]:
        return None
    tokenizer = first.tokenizer
    is_plain = tokenizer.pad_token_id is not None and tokenizer.padding_side == "right"
    # What tells the parts of a text apart is 0 throughout, and may be left out.
    return tokenizer if is_plain and tokenizer.pad_token_type_id == 0 else None


def prompt_of(model: SentenceTransformer, kind: TextKind) -> str | None:
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
    """Some of many texts, without unnecessary padding."""
    texts, width = features["input_ids"].shape
    chosen = torch.from_numpy(rows)

    def own(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) != texts:
            return value
        return value[chosen, :length] if value.ndim == 2 and value.shape[1] == width else value[chosen]

    return {name: own(value) for name, value in features.items()}
