"""What a converted model is told before its transformer, and what follows it: pooling, dense layers, the norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from safetensors.numpy import load_file, save_file

from include.retriever.encoders.contract import TextKind, Vectors

Pooling = Literal["cls", "mean"]
Activation = Literal["none", "tanh"]
LEAST_NORM = 1e-12
"""A vector that is shorter is not made longer, as in PyTorch."""


@dataclass(frozen=True)
class Dense:
    """A layer that makes vectors of another length."""

    weight: Vectors
    """Shape (out, in)."""
    bias: Vectors
    """Shape (out,)."""
    activation: Activation

    def __call__(self, vectors: Vectors) -> Vectors:
        """Shape (n, in) to (n, out)."""
        out = vectors @ self.weight.T + self.bias
        return np.tanh(out) if self.activation == "tanh" else out


class Shape(BaseModel):
    """What is known of a model beside its numbers, kept as JSON."""

    model_config = ConfigDict(frozen=True)

    max_tokens: int
    """Of a text; the rest is cut off."""
    pad: int
    """The number of the token that fills a batch."""
    prompts: dict[TextKind, str]
    """What is put before a text."""
    pooling: Pooling
    activations: tuple[Activation, ...]
    """Of the dense layers, in their order."""
    dimension: int
    """Of a vector; the rest is cut off."""


class Head:
    """All of a sentence encoder but its tokenizer and its transformer."""

    SHAPE, WEIGHTS = "head.json", "head.safetensors"

    def __init__(self, shape: Shape, dense: Sequence[Dense]) -> None:
        self.shape = shape
        self.dense = tuple(dense)

    @classmethod
    def read(cls, folder: Path) -> Head:
        """What :meth:`write` wrote."""
        shape = Shape.model_validate_json((folder / cls.SHAPE).read_bytes())
        numbers = load_file(folder / cls.WEIGHTS)
        dense = [
            Dense(numbers[f"weight{at}"], numbers[f"bias{at}"], activation)
            for at, activation in enumerate(shape.activations)
        ]
        return cls(shape, dense)

    def write(self, folder: Path) -> None:
        numbers = {f"weight{at}": layer.weight for at, layer in enumerate(self.dense)}
        numbers |= {f"bias{at}": layer.bias for at, layer in enumerate(self.dense)}
        save_file(numbers, folder / self.WEIGHTS)
        (folder / self.SHAPE).write_text(self.shape.model_dump_json(indent=2), encoding="utf-8")

    def vectors(self, hidden: Vectors, mask: npt.NDArray[np.bool_]) -> Vectors:
        """L2-normalised vectors, shape (n, dimension).

        :param hidden: the transformer's output, shape (n, length, width).
        :param mask: which places are no padding, shape (n, length).
        """
        if self.shape.pooling == "cls":
            vectors = hidden[:, 0]
        else:
            vectors = (mask[:, None].astype(np.float32) @ hidden)[:, 0] / mask.sum(axis=1, keepdims=True)
        for layer in self.dense:
            vectors = layer(vectors)
        vectors = vectors[:, : self.shape.dimension]
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(norms, LEAST_NORM), dtype=np.float32)
