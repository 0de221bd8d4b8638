"""The recipe of a training: its hyper-parameters."""

from __future__ import annotations

from pydantic import BaseModel


class Recipe(BaseModel):
    """Everything that, with the pairs and the base model, decides the trained weights."""

    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = 2e-5
    warmup_share: float = 0.1
    max_seq_length: int = 128
    """Tokens of a text seen in training; encoding keeps the base model's own length."""
    seed: int = 20171201
