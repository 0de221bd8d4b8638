"""The contract of encoders, which turn texts into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from include.errors import PermanentError

Vectors = npt.NDArray[np.float32]
TextKind = Literal["query", "document"]
"""The kind of a text: a model may use different prompts for queries and documents."""


class EncoderError(PermanentError):
    """The model cannot be used as requested; the message says what to do."""


class Encoder(Protocol):
    """Turns texts into vectors."""

    @property
    def tokens(self) -> int:
        """How many tokens it has read so far, padding not counted; 0 if the model does not tell."""
        ...

    def encode(self, texts: Sequence[str], *, batch_size: int = 0, kind: TextKind = "document") -> Vectors:
        """L2-normalised vectors in the texts' order, shape (n, dimension).

        :param batch_size: how many texts of the greatest length the model reads are computed at a time, and of shorter
            ones as many as have the same number of tokens; 0 takes what suits the device.
        """
        ...
