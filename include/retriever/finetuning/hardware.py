"""What a training runs on. None of it is part of the recipe: the same model comes out, up to rounding and dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Hardware:
    """Where a training computes, and how it fits there."""

    device: Literal["cpu", "cuda"] = "cpu"
    gpus: int = 1
    """Processes that share each batch, one a GPU (on the CPU just processes, for tests)."""
    mini_batch_size: int = 0
    """Pairs that are embedded at a time where a device's share of the batch does not fit into its memory; 0: all, until
    it runs out."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: a third more time, a fraction of the memory."""
    threads: int = 0
    """CPU threads that several processes share; 0 leaves them to PyTorch."""

    def __post_init__(self) -> None:
        if self.gpus < 1:
            raise ValueError("A training needs at least one device.")
