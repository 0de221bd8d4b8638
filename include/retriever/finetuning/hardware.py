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
    threads: int = 0
    """CPU threads that several processes share; 0 leaves them to PyTorch."""

    def __post_init__(self) -> None:
        if self.gpus < 1:
            raise ValueError("A training needs at least one device.")
